//! Plays: one device of the fleet: the agent's own machine, or another program's constants.

use core::time::Duration;

use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::agent::link::{Link, LinkAction, LinkEvent};
use mtls_agent::agent::{ExchangeId, Moment, SetId, Settings};

/// The outage begins when the agents have been up for that long.
const EPOCH: Duration = Duration::from_secs(3600);

/// How a device waits between its tries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schedule {
    /// The agent's own machine as it is delivered.
    Agent,
    /// The same with a first retry within 60 s and 20 s of patience.
    AgentHasty,
    /// Basic Station towards CUPS: 60 s.
    StationCups,
    /// Basic Station towards its LNS: 0, 10, 20 .. 60 s.
    StationLns,
    /// Mender: three times each 60, 120, 240 s, then 300 s.
    Mender,
}

impl Schedule {
    pub(crate) const ALL: [Self; 5] = [
        Self::Agent,
        Self::AgentHasty,
        Self::StationCups,
        Self::StationLns,
        Self::Mender,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "mtls-agent",
            Self::AgentHasty => "60 s and 20 s",
            Self::StationCups => "Station, CUPS",
            Self::StationLns => "Station, LNS",
            Self::Mender => "Mender",
        }
    }

    /// Seconds between tries; the last one repeats.
    const fn steps(self) -> &'static [u64] {
        match self {
            Self::Agent | Self::AgentHasty => &[],
            Self::StationCups => &[60],
            Self::StationLns => &[0, 10, 20, 30, 40, 50, 60],
            Self::Mender => &[60, 60, 60, 120, 120, 120, 240, 240, 240, 300],
        }
    }

    /// How long a try may take; for the agent `network.connect_s`.
    const fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Agent | Self::StationCups | Self::StationLns => 60,
            Self::Mender => 30,
            Self::AgentHasty => 20,
        })
    }

    fn settings(self) -> Option<Settings> {
        let usual = Settings::default();
        match self {
            Self::Agent => Some(usual),
            Self::AgentHasty => Some(Settings {
                first_retry_spread: Duration::from_secs(60),
                ..usual
            }),
            Self::StationCups | Self::StationLns | Self::Mender => None,
        }
    }
}

/// One device.
pub(super) struct Client {
    schedule: Schedule,
    link: Option<Link>,
    attempt: ExchangeId,
    failures: usize,
}

impl Client {
    /// A device whose link is up and has been for long.
    pub(super) fn new(schedule: Schedule, seed: u64) -> Self {
        let mut client = Self {
            schedule,
            link: schedule
                .settings()
                .map(|settings| Link::new(settings, seed)),
            attempt: ExchangeId(0),
            failures: 0,
        };
        client.come_up();
        client
    }

    pub(super) const fn patience(&self) -> Duration {
        self.schedule.patience()
    }

    /// The connection is lost: when the first try is.
    pub(super) fn lost(&mut self, now: Duration) -> Duration {
        let (id, failure) = (self.attempt, unreachable());
        self.end(LinkEvent::Closed { id, failure }, now)
    }

    /// The moment of a try has come.
    pub(super) fn tries(&mut self, now: Duration) {
        if let Some(link) = &mut self.link {
            let actions = link.step(LinkEvent::DeadlinePassed, moment(now));
            self.attempt = opened(&actions);
        }
    }

    /// The try failed: when the next one is.
    pub(super) fn failed(&mut self, now: Duration) -> Duration {
        let (id, failure) = (self.attempt, unreachable());
        self.end(LinkEvent::Failed { id, failure }, now)
    }

    pub(super) fn connected(&mut self, now: Duration) {
        let id = self.attempt;
        if let Some(link) = &mut self.link {
            link.step(LinkEvent::Connected { id }, moment(now));
            assert_eq!(link.state(), "up");
        }
    }

    fn end(&mut self, event: LinkEvent, now: Duration) -> Duration {
        if let Some(link) = &mut self.link {
            link.step(event, moment(now));
            let due = link
                .deadline()
                .map_or(now, |next| next.at.since_boot().saturating_sub(EPOCH));
            return due.max(now);
        }
        let steps = self.schedule.steps();
        let wait = steps.get(self.failures).or(steps.last()).copied();
        self.failures += 1;
        now + Duration::from_secs(wait.unwrap_or(60))
    }

    /// First connection, and long enough for it to count as good.
    fn come_up(&mut self) {
        let Some(link) = &mut self.link else {
            return;
        };
        let set = Some(SetId(1));
        link.step(LinkEvent::SetChanged { set }, Moment::default());
        let due = link.deadline().map_or(Moment::default(), |next| next.at);
        let id = opened(&link.step(LinkEvent::DeadlinePassed, due));
        link.step(LinkEvent::Connected { id }, due);
        let steady = link.deadline().map_or(due, |next| next.at);
        link.step(LinkEvent::DeadlinePassed, steady);
        assert!(link.state() == "up" && link.deadline().is_none());
        self.attempt = id;
    }
}

fn moment(now: Duration) -> Moment {
    Moment::from_boot(EPOCH + now)
}

fn opened(actions: &[LinkAction]) -> ExchangeId {
    let id = actions.iter().find_map(|action| match action {
        LinkAction::Open { id, .. } => Some(*id),
        _ => None,
    });
    assert!(id.is_some(), "a link that is due opens: {actions:?}");
    id.unwrap_or(ExchangeId(u32::MAX))
}

fn unreachable() -> Failure {
    Failure::new(Class::Network, "refused", "the LNS cannot be reached")
}
