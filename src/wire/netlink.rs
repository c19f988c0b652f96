//! Speaks: the kernel's news about interfaces and routes (`NETLINK_ROUTE`).
//!
//! ```text
//! length u32 | type u16 | flags u16 | sequence u32 | port u32 | body, padded to 4   (repeated)
//! link:  family u8 | 0 u8 | type u16 | index u32 | flags u32 | change u32 | attributes
//! route: family u8 | to_length u8 | from_length u8 | tos u8 | table u8 | protocol u8 |
//!        scope u8 | type u8 | flags u32 | attributes
//! ```
//! In the machine's own octet order. Attributes are not needed and not read.

const HEADER_OCTETS: usize = 16;

const LINK_NEW: u16 = 16;
const LINK_GONE: u16 = 17;
const ROUTE_NEW: u16 = 24;

const FLAG_LOOPBACK: u32 = 0x8;
/// Up, with a carrier, and ready for packets: `IFF_UP`, `IFF_RUNNING`, `IFF_LOWER_UP`.
const FLAGS_READY: u32 = 0x1 | 0x40 | 0x1_0000;

const ROUTE_UNICAST: u8 = 1;
const TABLE_LOCAL: u8 = 255;
/// A copy in a cache.
const ROUTE_FLAG_CLONED: u32 = 0x200;

/// One piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The state of an interface, changed or not; never the loopback.
    Link {
        /// Its number.
        index: u32,
        /// Whether packets can go through it.
        is_ready: bool,
    },
    /// There is a way to everywhere.
    DefaultRoute,
}

/// Reads one datagram. What is unknown is left out; what is broken ends the list.
#[must_use]
pub fn parse(datagram: &[u8]) -> Vec<News> {
    let mut news = Vec::new();
    let mut rest = datagram;
    while let Some((kind, body, after)) = message(rest) {
        news.extend(match kind {
            LINK_NEW => link(body, true),
            LINK_GONE => link(body, false),
            ROUTE_NEW => route(body),
            _ => None,
        });
        rest = after;
    }
    news
}

/// Type and body of the first message, and what follows it.
fn message(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(word(octets, 0)?).ok()?;
    let kind = u16::from_ne_bytes(octets.get(4..6)?.try_into().ok()?);
    let body = octets.get(HEADER_OCTETS..length)?;
    let padded = length.checked_next_multiple_of(4)?;
    Some((kind, body, octets.get(padded..).unwrap_or_default()))
}

fn link(body: &[u8], is_there: bool) -> Option<News> {
    let (index, flags) = (word(body, 4)?, word(body, 8)?);
    (flags & FLAG_LOOPBACK == 0).then_some(News::Link {
        index,
        is_ready: is_there && flags & FLAGS_READY == FLAGS_READY,
    })
}

fn route(body: &[u8]) -> Option<News> {
    let (to_length, table, kind) = (*body.get(1)?, *body.get(4)?, *body.get(7)?);
    let is_cached = word(body, 8)? & ROUTE_FLAG_CLONED != 0;
    let is_default = to_length == 0 && kind == ROUTE_UNICAST && table != TABLE_LOCAL;
    (is_default && !is_cached).then_some(News::DefaultRoute)
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    let octets = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(octets.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_OCTETS + body.len()).unwrap();
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 10]);
        octets.extend(body);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn link_body(index: u32, flags: u32) -> Vec<u8> {
        let mut body = vec![0, 0, 1, 0];
        body.extend(index.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 5]);
        body
    }

    fn route_body(to_length: u8, table: u8, kind: u8) -> Vec<u8> {
        vec![2, to_length, 0, 0, table, 3, 0, kind, 0, 0, 0, 0]
    }

    #[test]
    fn interfaces_and_default_routes_are_read_in_order() {
        let mut datagram = message(LINK_NEW, &link_body(2, 0x1_1043));
        datagram.extend(message(LINK_NEW, &link_body(3, 0x1003)));
        datagram.extend(message(99, &[1, 2, 3]));
        datagram.extend(message(ROUTE_NEW, &route_body(0, 254, 1)));
        datagram.extend(message(LINK_GONE, &link_body(2, 0x1_1043)));
        let link = |index, is_ready| News::Link { index, is_ready };
        assert_eq!(
            parse(&datagram),
            [
                link(2, true),
                link(3, false),
                News::DefaultRoute,
                link(2, false)
            ]
        );
    }

    #[test]
    fn the_loopback_and_other_routes_are_no_news() {
        let mut datagram = message(LINK_NEW, &link_body(1, 0x1_0049));
        for (to_length, table, kind) in [(24, 254, 1), (0, 255, 1), (0, 254, 7)] {
            datagram.extend(message(ROUTE_NEW, &route_body(to_length, table, kind)));
        }
        assert_eq!(parse(&datagram), []);
    }

    #[test]
    fn every_cut_and_every_wrong_length_is_survived() {
        let datagram = message(LINK_NEW, &link_body(2, 0x1_1043));
        for end in 0..HEADER_OCTETS + 17 {
            assert_eq!(parse(&datagram[..end]), [], "{end}");
        }
        for length in [0, 1, 15, 16, 17, u32::MAX - 1, u32::MAX] {
            let mut datagram = datagram.clone();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&datagram), [], "{length}");
        }
    }
}
