//! Guards: what the forwarder lets through: the device APIs, and never an auth request.
//!
//! Servers and proxies clean paths in different ways, so a path that needs cleaning is refused.

const ROOM: &str = "/api/devices/";

/// Whether a request may go to this path and query.
pub(super) fn is_allowed(target: &str) -> bool {
    let is_graphic = target.bytes().all(|octet| octet.is_ascii_graphic());
    let path = target.split('?').next().unwrap_or_default();
    let Some(rest) = path.strip_prefix(ROOM) else {
        return false;
    };
    if !is_graphic || target.contains('#') || path.contains('\\') || !is_plainly_encoded(path) {
        return false;
    }
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        // A slash at the end is no empty segment inside.
        let is_last = segments.peek().is_none();
        if (segment.is_empty() && !is_last) || !is_harmless(segment) {
            return false;
        }
    }
    true
}

/// Some servers cut a segment at its first semicolon.
fn is_harmless(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let is_cut_short = name.is_empty() && !segment.is_empty();
    !(is_cut_short || name == "." || name == ".." || is("authentication") || is("auth_requests"))
}

/// Whether what is encoded is only what has to be: a letter, a dot or a slash that hides behind
/// a `%` would be seen by some readers and not by others.
fn is_plainly_encoded(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let digits = after.get(..2).unwrap_or_default();
        let is_hex = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        match u8::from_str_radix(digits, 16) {
            Ok(octet) if is_hex => {
                let is_unreserved = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
                !(is_unreserved || octet.is_ascii_control() || b"%/\\;?#".contains(&octet))
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn the_device_apis_are_let_through() {
        for target in [
            "/api/devices/v1/deviceconnect/connect",
            "/api/devices/v1/inventory/device/attributes",
            "/api/devices/v2/deployments/device/deployments/next",
            "/api/devices/v1/deployments/device/deployments/next?artifact_name=a%2Eb&device_type=..",
            "/api/devices/v1/a/",
            "/api/devices/v1/a%20b",
        ] {
            assert!(is_allowed(target), "{target}");
        }
    }

    #[test]
    fn auth_requests_and_everything_else_are_not_however_they_are_written() {
        for target in [
            "/api/devices/v1/authentication/auth_requests",
            "/api/devices/v1/authentication/auth_requests/",
            "/api/devices/v1/authentication/auth_requests?x",
            "/api/devices/v1/AUTHENTICATION/x",
            "/api/devices/v1/x/Auth_Requests",
            "/api/devices/v1/authentication;x/y",
            "/api/devices/v1/auth_requests;x",
            "/api/devices/v1/%61uthentication/x",
            "/api/devices/v1/auth%5Frequests",
            "/api/devices/v1/authentication%2Fauth_requests",
            "/api/devices/v1/authentication%3bx",
            "/api/devices/../management/v1/x",
            "/api/devices/./x",
            "/api/devices/..",
            "/api/devices/..;/management",
            "/api/devices/;/x",
            "/api/devices//v1/x",
            "/api/devices/v1//x",
            "//api/devices/v1/x",
            "/api/devices",
            "/api/devicesx/v1",
            "/api/management/v1/x",
            "/api/devices/%2e%2e/x",
            "/api/devices/.%2E/x",
            "/api/devices/%252e%252e/x",
            "/api/devices/v1/x%2fy",
            "/api/devices/v1/x%5cy",
            "/api/devices/v1\\..\\x",
            "/api/devices/v1/x%00",
            "/api/devices/v1/x%0d%0aX:y",
            "/api/devices/v1/x%",
            "/api/devices/v1/x%4",
            "/api/devices/v1/x%+1",
            "/api/devices/v1/x#y",
            "/api/devices/v1/\u{e9}",
            "http://127.0.0.1/api/devices/v1/x",
            "https://elsewhere/api/devices/v1/x",
            "127.0.0.1:443",
            "*",
            "",
        ] {
            assert!(!is_allowed(target), "{target}");
        }
    }
}
