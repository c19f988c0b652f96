//! Decides: what becomes of one program's request, from its head to its end.
//!
//! ```text
//! head --sound? known token? device API?--> server --answer--> program
//!   '-no: 400, 401, 403            401 or 403 |  ^ once, with the next token
//!                                             '--'
//! ```

use core::time::Duration;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use tracing::debug;

use super::answer::Answer;
use super::board::{Board, Loan, Place};
use super::caller::Caller;
use super::exchange::{Exchange, Fault, timeout};
use super::head::{Request, bad_gateway, refusal};
use crate::daemon::clock;
use crate::daemon::holders::relay::pipe::{Pipe, Ways};
use crate::daemon::holders::relay::remote::{Remote, Scratch};
use crate::daemon::reset;
use crate::limits::FORWARDER_UPGRADES_MAX;

const UNAUTHORISED: u16 = 401;
const FORBIDDEN: u16 = 403;

/// How a request ends.
enum End {
    /// All of the answer has been passed.
    Told,
    /// This is the answer.
    Says(Vec<u8>),
    /// The answer is cut off, or nobody is there to hear one.
    Cut,
    /// The connection belongs to both sides now.
    Joined(Box<Exchange>, Vec<u8>),
}

/// Serves one program's connection to its end.
pub(super) fn serve(stream: TcpStream, board: &Board) {
    let (mut caller, heard) = Caller::hear(stream, board.patience.head);
    let request = match heard {
        None => return,
        Some(Err(status)) => return turn_away(caller, board, status.0),
        Some(Ok(request)) => request,
    };
    let loan = request
        .bearer
        .as_ref()
        .and_then(|shown| board.loan_for(shown));
    let Some(loan) = loan else {
        return turn_away(caller, board, UNAUTHORISED);
    };
    if !request.is_allowed() {
        return turn_away(caller, board, FORBIDDEN);
    }
    let mut place = None;
    if request.upgrade.is_some() {
        place = Place::take(&board.upgrades, FORWARDER_UPGRADES_MAX);
        if place.is_none() {
            return turn_away(caller, board, 503);
        }
    }
    match forward(&mut caller, board, &request, &loan) {
        End::Told => caller.leave(&[]),
        End::Says(octets) => caller.leave(&octets),
        End::Cut => caller.cut(),
        End::Joined(exchange, first) => join(caller, *exchange, first, board.patience.idle),
    }
    drop(place);
}

fn turn_away(caller: Caller, board: &Board, status: u16) {
    board.count(|figures| figures.turned_away = figures.turned_away.saturating_add(1));
    debug!(status, "the forwarder turned a program away");
    caller.leave(&refusal(status));
}

fn forward(caller: &mut Caller, board: &Board, request: &Request, loan: &Loan) -> End {
    match answered(caller, board, request, loan, false) {
        Err(end) => end,
        Ok((exchange, answer)) if is_refusal(&answer, board, request) => {
            again(caller, board, request, loan, exchange, &answer)
        }
        Ok((exchange, answer)) => pass(caller, board, request, loan, exchange, &answer),
    }
}

/// The server wants another token: asks for one and sends the request once more.
fn again(
    caller: &mut Caller,
    board: &Board,
    request: &Request,
    loan: &Loan,
    exchange: Exchange,
    answer: &Answer,
) -> End {
    let hope = board.refused(loan);
    let next = if caller.can_repeat() {
        board.next(loan, hope)
    } else {
        None
    };
    let Some(next) = next else {
        return pass(caller, board, request, loan, exchange, answer);
    };
    exchange.close();
    board.count(|figures| figures.repeated = figures.repeated.saturating_add(1));
    match answered(caller, board, request, &next, true) {
        Err(end) => end,
        Ok((exchange, answer)) => pass(caller, board, request, &next, exchange, &answer),
    }
}

/// Asks the server until it answers.
fn answered(
    caller: &mut Caller,
    board: &Board,
    request: &Request,
    loan: &Loan,
    is_repeat: bool,
) -> Result<(Exchange, Answer), End> {
    let lent = &loan.lent;
    let patience = Duration::from_secs(lent.access.network.response_s);
    let asked = Exchange::open(lent, request, caller.kept(), is_repeat).and_then(|mut exchange| {
        let answer = exchange.until_head(caller, request, patience)?;
        Ok((exchange, answer))
    });
    match asked {
        Ok(asked) => {
            board.count(|figures| figures.requests = figures.requests.saturating_add(1));
            Ok(asked)
        }
        Err(fault) => Err(excuse(&fault, board, loan)),
    }
}

/// Passes an answer on.
fn pass(
    caller: &mut Caller,
    board: &Board,
    request: &Request,
    loan: &Loan,
    mut exchange: Exchange,
    answer: &Answer,
) -> End {
    if answer.status == UNAUTHORISED {
        exchange.close();
        return End::Says(refusal(UNAUTHORISED));
    }
    if answer.status == 101 {
        let head = answer.forwarded(request);
        return End::Joined(Box::new(exchange), head);
    }
    if answer.status != FORBIDDEN {
        board.is_permitted(request.path());
    }
    caller.forget();
    let patience = Duration::from_secs(loan.lent.access.network.total_s);
    match exchange.finish(caller, request, answer, patience) {
        Ok(()) => {
            exchange.close();
            End::Told
        }
        Err(fault) => {
            excuse(&fault, board, loan);
            End::Cut
        }
    }
}

/// Whether another token may help.
fn is_refusal(answer: &Answer, board: &Board, request: &Request) -> bool {
    match answer.status {
        UNAUTHORISED => true,
        FORBIDDEN => board.is_first_403(request.path()),
        _ => false,
    }
}

/// What the program hears of a failure.
fn excuse(fault: &Fault, board: &Board, loan: &Loan) -> End {
    let access = &loan.lent.access;
    let peer = loan.lent.server.uri().authority();
    let why = match fault {
        Fault::Gone => return End::Cut,
        Fault::Malformed => return End::Says(refusal(400)),
        Fault::Slow => return End::Says(refusal(408)),
        Fault::Odd(what) => format!("{peer} gave {what}"),
        Fault::Server(error) => {
            let clock_sane = access.tls.time.is_sane();
            let mut evidence = error.evidence(peer, access.own_certificate_valid, clock_sane);
            evidence.silent_closes = access.silent_closes;
            evidence.classify().message
        }
    };
    board.count(|figures| figures.failed = figures.failed.saturating_add(1));
    debug!("a program's request came to nothing: {why}");
    End::Says(bad_gateway(&why))
}

/// Passes octets both ways until both sides have ended, or nothing was said for long.
fn join(caller: Caller, exchange: Exchange, mut head: Vec<u8>, idle: Duration) {
    let (stream, early) = caller.into_parts();
    let (session, received) = exchange.into_parts();
    let (socket, tls) = session.into_parts();
    let Ok(other) = stream.try_clone() else {
        return;
    };
    head.extend_from_slice(&received);
    let pipe = Remote::new(socket, tls)
        .and_then(|remote| Pipe::new(OwnedFd::from(stream).into(), remote, &early, head));
    if let Ok(mut pipe) = pipe {
        if !carry(&mut pipe, idle) {
            reset::when_closed(&other);
        }
        pipe.end();
    }
}

/// Whether both sides have ended.
fn carry(pipe: &mut Pipe, idle: Duration) -> bool {
    let mut quiet_since = clock::since_boot();
    loop {
        let now = clock::since_boot();
        // Made anew each time: an idle connection holds no buffers.
        let moved = pipe.work(Ways::BOTH, &mut Scratch::new(), now);
        if pipe.is_over() {
            return true;
        }
        if moved.up > 0 || moved.down > 0 {
            quiet_since = now;
        }
        if pipe.is_hungry() {
            continue;
        }
        let given_up = quiet_since.saturating_add(idle);
        let deadline = pipe.deadline().unwrap_or(given_up);
        let until = deadline.min(given_up);
        let left = until.saturating_sub(now);
        if left.is_zero() {
            return false;
        }
        let fds = [
            (pipe.local_fd(), pipe.local_interest()),
            (pipe.remote_fd(), pipe.remote_interest()),
        ];
        let is_wanted = |(_, flags): &(_, PollFlags)| !flags.is_empty();
        let mut fds: Vec<PollFd<'_>> = fds
            .into_iter()
            .filter(is_wanted)
            .map(|(fd, flags)| PollFd::new(fd, flags))
            .collect();
        match poll(&mut fds, timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
