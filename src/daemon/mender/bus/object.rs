//! Acts: the object on the bus: what is answered to which call.

use super::{Board, Shown};
use crate::wire::dbus::{Body, Kind, Message};

/// The name on the bus.
pub(super) const NAME: &str = "io.mender.AuthenticationManager";
const PATH: &str = "/io/mender/AuthenticationManager";
const INTERFACE: &str = "io.mender.Authentication1";
const PEER: &str = "org.freedesktop.DBus.Peer";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";

const DESCRIPTION: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
  <interface name="io.mender.Authentication1">
    <method name="GetJwtToken">
      <arg type="s" name="token" direction="out"/>
      <arg type="s" name="server_url" direction="out"/>
    </method>
    <method name="FetchJwtToken">
      <arg type="b" name="success" direction="out"/>
    </method>
    <signal name="JwtTokenStateChange">
      <arg type="s" name="token"/>
      <arg type="s" name="server_url"/>
    </signal>
  </interface>
</node>
"#;

/// The answer to a message; `None` where there is nothing to answer.
pub(super) fn answer(message: &Message, serial: u32, board: &Board) -> Option<Message> {
    if message.kind != Kind::Call {
        return None;
    }
    let answer = carry_out(message, serial, board);
    (!message.is_reply_unwanted).then_some(answer)
}

/// The signal that an attempt to authenticate has ended.
pub(super) fn state_change(serial: u32, shown: &Shown) -> Message {
    Message::signal(serial, PATH, (INTERFACE, "JwtTokenStateChange")).with(token_and_url(shown))
}

fn carry_out(call: &Message, serial: u32, board: &Board) -> Message {
    let (interface, member) = (call.interface.as_str(), call.member.as_str());
    if (interface, member) == (PEER, "Ping") {
        return call.answer(serial);
    }
    if call.path != PATH {
        return call.refusal(serial, UNKNOWN_OBJECT, "there is only one object here");
    }
    match (interface, member) {
        (INTERFACE | "", "GetJwtToken") => call
            .answer(serial)
            .with(token_and_url(&board.state().shown)),
        (INTERFACE | "", "FetchJwtToken") => {
            let can_fetch = board.state().shown.can_fetch;
            if can_fetch {
                board.want_fetch();
            }
            call.answer(serial).with(Body::default().flag(can_fetch))
        }
        (INTROSPECTABLE, "Introspect") => {
            call.answer(serial).with(Body::default().text(DESCRIPTION))
        }
        _ => call.refusal(
            serial,
            UNKNOWN_METHOD,
            "GetJwtToken and FetchJwtToken exist",
        ),
    }
}

fn token_and_url(shown: &Shown) -> Body {
    Body::default().text(&shown.token).text(&shown.url)
}
