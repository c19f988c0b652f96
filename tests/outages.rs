//! Ten thousand outages of the LNS link, without the waiting: nothing grows, and the link is
//! up after each of them.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends when a step is missing"
)]

use core::time::Duration;
use std::collections::BTreeSet;

use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::agent::link::{Link, LinkAction, LinkEvent};
use mtls_agent::agent::{ExchangeId, Moment, SetId, Settings};

const OUTAGES: usize = 10_000;
/// Six refusals in a row, and then one more wait, each 6 h and a fifth at most.
const OUTAGE_MAX: Duration = Duration::from_secs(7 * 6 * 3600 * 6 / 5);

/// Carries out what the machine wants, by a script: so many refusals, then success.
#[derive(Default)]
struct Scripted {
    open: BTreeSet<u32>,
    events: Vec<LinkEvent>,
    refusals: usize,
    class: Option<Class>,
    opened: usize,
}

impl Scripted {
    fn carry_out(&mut self, actions: Vec<LinkAction>) {
        for action in actions {
            match action {
                LinkAction::Open { id, .. } if self.refusals > 0 => {
                    self.refusals -= 1;
                    let failure = self.failure();
                    self.events.push(LinkEvent::Failed { id, failure });
                }
                LinkAction::Open { id, .. } => {
                    self.opened += 1;
                    self.open.insert(id.0);
                    self.events.push(LinkEvent::Connected { id });
                }
                LinkAction::Close { id } => assert!(self.open.remove(&id.0), "{id:?}"),
                LinkAction::AskCups | LinkAction::Report(_) => {}
            }
        }
    }

    fn failure(&self) -> Failure {
        Failure::new(self.class.unwrap_or(Class::Network), "scripted", "scripted")
    }
}

#[test]
fn ten_thousand_outages_leave_one_link_and_nothing_else() {
    let (mut link, mut holder) = (Link::new(Settings::default(), 11), Scripted::default());
    let mut now = Duration::ZERO;
    let mut set = 1;
    let first = LinkEvent::SetChanged {
        set: Some(SetId(set)),
    };
    holder.carry_out(link.step(first, Moment::from_boot(now)));
    until_up(&mut link, &mut holder, &mut now, set);
    let size = format!("{link:?}").len();
    for outage in 0..OUTAGES {
        let began = now;
        holder.refusals = outage % 7;
        holder.class = Some(Class::ALL[outage % Class::ALL.len()]);
        let event = if outage % 10 == 9 {
            set += 1;
            LinkEvent::SetChanged {
                set: Some(SetId(set)),
            }
        } else {
            let id = ExchangeId(*holder.open.first().unwrap());
            holder.open.clear();
            let failure = holder.failure();
            LinkEvent::Closed { id, failure }
        };
        holder.carry_out(link.step(event, Moment::from_boot(now)));
        until_up(&mut link, &mut holder, &mut now, set);
        let took = now.saturating_sub(began);
        assert!(took < OUTAGE_MAX, "{outage}: {took:?}");
        assert_eq!(holder.open.len(), 1, "outage {outage}");
        now += Duration::from_secs(u64::try_from(outage % 120).unwrap());
    }
    assert_eq!(holder.opened, OUTAGES + 1);
    assert_eq!(holder.events.capacity().max(8), 8, "events pile up");
    assert!(format!("{link:?}").len() < size + 400, "the machine grows");
}

/// Lets time jump from deadline to deadline until the link is up with this set.
fn until_up(link: &mut Link, holder: &mut Scripted, now: &mut Duration, set: u64) {
    for _ in 0..1000 {
        while let Some(event) = holder.events.pop() {
            holder.carry_out(link.step(event, Moment::from_boot(*now)));
        }
        let status = link.status();
        if status.set == Some(SetId(set)) {
            return;
        }
        *now = (*now).max(status.next.unwrap().at.since_boot());
        let actions = link.step(LinkEvent::DeadlinePassed, Moment::from_boot(*now));
        holder.carry_out(actions);
    }
    panic!("never up again: {:?}", link.status());
}
