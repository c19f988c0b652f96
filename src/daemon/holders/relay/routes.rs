//! Keeps: where the traffic of each gateway goes, and by which path clients ask for it.

use std::collections::BTreeMap;

use crate::wire::eui::Eui64;
use crate::wire::uri::ServerUri;

/// The addresses that discovery with the set in use has given.
#[derive(Debug, Default)]
pub(super) struct Routes(BTreeMap<Eui64, Route>);

#[derive(Debug)]
struct Route {
    /// What clients ask for: the path of the address, unless it could be another gateway's too.
    target: String,
    uri: ServerUri,
}

impl Routes {
    /// Forgets all: the addresses of a replaced set are another server's, who is not to be
    /// shown the new key.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes what discovery has given and returns the path for clients: always the same one,
    /// whoever asks first, because a client comes back by it without asking again. `is_own`:
    /// the gateway is the certificate's own.
    pub(super) fn learn(&mut self, router: Eui64, is_own: bool, uri: ServerUri) -> String {
        let path = uri.path();
        let is_taken = |(other, route): (&Eui64, &Route)| *other != router && route.target == path;
        let is_named = is_own || path.to_ascii_uppercase().contains(&router.to_string());
        let target = if is_named && !self.0.iter().any(is_taken) {
            path.to_owned()
        } else {
            format!("/eui-{router}{path}")
        };
        let route = Route {
            target: target.clone(),
            uri,
        };
        self.0.insert(router, route);
        target
    }

    /// Whose traffic a client asks for, and where it goes.
    pub(super) fn find(&self, target: &str) -> Option<(Eui64, &ServerUri)> {
        let of = |wanted: &str| {
            let is_it = |(_, route): &(&Eui64, &Route)| route.target == wanted;
            self.0.iter().find(is_it)
        };
        // A client may add a query of its own.
        let found = of(target).or_else(|| of(target.split('?').next().unwrap_or_default()));
        found.map(|(router, route)| (*router, &route.uri))
    }

    /// Whether an address is on the server that this gateway needs.
    pub(super) fn is_shared(&self, router: Eui64, uri: &ServerUri) -> bool {
        let own = self.0.get(&router);
        own.is_none_or(|own| own.uri.authority() == uri.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::Routes;
    use crate::wire::eui::Eui64;
    use crate::wire::uri::{ServerUri, Service};

    fn uri(text: &str) -> ServerUri {
        ServerUri::parse(text, Service::Traffic).unwrap()
    }

    #[test]
    fn gateways_with_one_path_on_two_servers_are_told_apart() {
        let mut routes = Routes::default();
        let (first, second) = (Eui64::new(1), Eui64::new(2));
        let target = routes.learn(second, false, uri("wss://b:1/traffic"));
        let own = routes.learn(first, true, uri("wss://a:1/traffic"));
        assert_eq!(own, "/traffic");
        assert_eq!(target, "/eui-0000000000000002/traffic");
        assert_eq!(routes.find("/traffic").unwrap().0, first);
        let (whose, found) = routes.find(&target).unwrap();
        assert_eq!((whose, found.host()), (second, "b"));
        assert!(!routes.is_shared(first, found));
        let own = uri("wss://b:1/gw-0000000000000002");
        let named = routes.learn(second, false, own);
        assert_eq!(named, "/gw-0000000000000002");
        assert!(routes.find(&target).is_none());
    }

    #[test]
    fn a_query_belongs_to_the_address_and_a_client_may_add_its_own() {
        let mut routes = Routes::default();
        let target = routes.learn(Eui64::new(1), true, uri("wss://a:1/traffic?shard=2"));
        assert_eq!(target, "/traffic?shard=2");
        assert!(routes.find("/traffic?shard=2").is_some());
        assert!(routes.find("/traffic").is_none());
        routes.learn(Eui64::new(1), true, uri("wss://a:1/traffic"));
        assert!(routes.find("/traffic?mine").is_some());
    }
}
