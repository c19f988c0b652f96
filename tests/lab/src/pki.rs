//! Issues: the operator's three certificate hierarchies, as PEM files in one directory.
//!
//! ```text
//! client root -> client issuing CA -> device leaf (CN = EUI)     the gateway's identity
//! server root -> server issuing CA -> localhost                  what the proxy shows
//! LNS root    -> localhost                                       what the LNS shows
//! ```

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::vanish;

/// A certificate file (leaf first, then its intermediates) and its key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// PEM certificates, leaf first.
    pub certificate: PathBuf,
    /// PEM private key, mode 0600.
    pub key: PathBuf,
}

/// An LNS root and the server certificate it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LnsIdentity {
    /// PEM root certificate.
    pub root: PathBuf,
    /// The same certificate in DER, as CUPS delivers it.
    pub root_der: Vec<u8>,
    /// The server's certificate and key.
    pub server: Pair,
}

/// When a certificate is valid, seen from today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Valid now.
    Now,
    /// Ended in the past.
    Ended,
    /// Begins in the future.
    Later,
}

/// All authorities and certificates of one laboratory.
#[derive(Debug)]
pub struct Pki {
    /// Where the files are.
    pub dir: PathBuf,
    /// The gateway's EUI, 16 upper-case hex digits.
    pub eui: String,
    /// The root of the device certificates: what a proxy verifies against.
    pub client_root: PathBuf,
    /// The issuing CA of the device certificates: what The Things Stack's CA store holds.
    pub client_issuing: PathBuf,
    /// The gateway's identity: leaf and issuing CA.
    pub device: Pair,
    /// The root of the proxy's certificate: the agent's trust anchor.
    pub server_root: PathBuf,
    /// The proxy's certificate (with its issuing CA) and key.
    pub server: Pair,
    /// The LNS and its root.
    pub lns: LnsIdentity,
    issuing: Authority,
    server_issuing: Authority,
    /// What servers are called beside `localhost`.
    names: Vec<String>,
}

impl Pki {
    /// Makes every key and certificate anew and writes them to `dir`, which is created.
    ///
    /// # Panics
    /// The directory cannot be written.
    #[must_use]
    pub fn make(dir: &Path, eui: &str) -> Self {
        Self::make_for(dir, eui, &[])
    }

    /// The same, for servers that are also reached by these names and addresses.
    ///
    /// # Panics
    /// The directory cannot be written, or a name is malformed.
    #[must_use]
    pub fn make_for(dir: &Path, eui: &str, names: &[String]) -> Self {
        fs::create_dir_all(dir).expect("the directory for the certificates can be made");
        let client_root = Authority::root("Fleet Root CA");
        let issuing = client_root.intermediate("Fleet Issuing CA");
        let server_root = Authority::root("Server Root CA");
        let server_issuing = server_root.intermediate("Server Issuing CA");
        let device = issuing.device(dir, "device", eui, Validity::Now);
        let server = server_issuing.server(dir, "server", names, Validity::Now);
        Self {
            client_root: write(dir, "client-root.pem", &client_root.pem, 0o644),
            client_issuing: write(dir, "client-issuing.pem", &issuing.pem, 0o644),
            server_root: write(dir, "server-root.pem", &server_root.pem, 0o644),
            lns: lns_identity(dir, "lns", "LNS Root CA", names),
            dir: dir.to_owned(),
            eui: eui.to_owned(),
            device,
            server,
            issuing,
            server_issuing,
            names: names.to_owned(),
        }
    }

    /// Root and issuing CA of the device certificates in one file, as proxies want them.
    ///
    /// # Panics
    /// The directory cannot be written.
    #[must_use]
    pub fn client_authorities(&self) -> PathBuf {
        let read = |path| fs::read_to_string(path).expect("it was made before");
        let both = read(&self.client_issuing) + &read(&self.client_root);
        write(&self.dir, "client-authorities.pem", &both, 0o644)
    }

    /// A certificate for the same EUI from an authority nobody here trusts.
    #[must_use]
    pub fn unknown_ca_device(&self) -> Pair {
        let stranger = Authority::root("Stranger Root CA").intermediate("Stranger Issuing CA");
        stranger.device(&self.dir, "device-unknown-ca", &self.eui, Validity::Now)
    }

    /// A certificate that ended in the past.
    #[must_use]
    pub fn expired_device(&self) -> Pair {
        self.issuing
            .device(&self.dir, "device-expired", &self.eui, Validity::Ended)
    }

    /// A certificate that begins in the future.
    #[must_use]
    pub fn future_device(&self) -> Pair {
        self.issuing
            .device(&self.dir, "device-future", &self.eui, Validity::Later)
    }

    /// A certificate whose CN is the EUI in lower case: the proxy takes it, CUPS does not.
    #[must_use]
    pub fn lower_case_device(&self) -> Pair {
        let name = self.eui.to_lowercase();
        self.issuing
            .device(&self.dir, "device-lower-case", &name, Validity::Now)
    }

    /// A good certificate of another gateway.
    #[must_use]
    pub fn other_device(&self, eui: &str) -> Pair {
        self.issuing
            .device(&self.dir, &format!("device-{eui}"), eui, Validity::Now)
    }

    /// A renewed certificate of the same gateway: new key, same CN.
    #[must_use]
    pub fn renewed_device(&self) -> Pair {
        self.issuing
            .device(&self.dir, "device-renewed", &self.eui, Validity::Now)
    }

    /// The proxy's certificate anew, from the same authority, beginning in the future.
    #[must_use]
    pub fn future_server(&self) -> Pair {
        self.server_issuing
            .server(&self.dir, "server-future", &self.names, Validity::Later)
    }

    /// Another LNS root with a server certificate of its own.
    #[must_use]
    pub fn second_lns(&self) -> LnsIdentity {
        lns_identity(&self.dir, "lns-second", "LNS Root CA 2", &self.names)
    }
}

#[derive(Debug)]
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
    /// What a leaf's file carries after the leaf; empty for a root.
    chain: String,
}

impl Authority {
    fn root(name: &str) -> Self {
        let (key, params) = (new_key(), authority_params(name, None));
        let certificate = params.self_signed(&key).expect("a root can be signed");
        let der = certificate.der().to_vec();
        let pem = certificate.pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
            der,
            chain: String::new(),
        }
    }

    fn intermediate(&self, name: &str) -> Self {
        let (key, params) = (new_key(), authority_params(name, Some(0)));
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("an issuing CA can be signed");
        let der = certificate.der().to_vec();
        let pem = certificate.pem();
        Self {
            issuer: Issuer::new(params, key),
            chain: pem.clone(),
            pem,
            der,
        }
    }

    fn device(&self, dir: &Path, file: &str, common_name: &str, validity: Validity) -> Pair {
        let mut params = named(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(dir, file, params, validity)
    }

    fn server(&self, dir: &Path, file: &str, names: &[String], validity: Validity) -> Pair {
        let local = ["localhost", "127.0.0.1", "::1", vanish::FAR].map(str::to_owned);
        let names: Vec<String> = local.iter().chain(names).cloned().collect();
        let mut params = CertificateParams::new(names).expect("these names are well formed");
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf(dir, file, params, validity)
    }

    fn leaf(
        &self,
        dir: &Path,
        file: &str,
        mut params: CertificateParams,
        validity: Validity,
    ) -> Pair {
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (date_time_ymd(2024, 1, 1), date_time_ymd(2049, 1, 1)),
            Validity::Ended => (date_time_ymd(2023, 1, 1), date_time_ymd(2024, 1, 1)),
            Validity::Later => (date_time_ymd(2048, 1, 1), date_time_ymd(2049, 1, 1)),
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key();
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a leaf can be signed");
        let chain = format!("{}{}", leaf.pem(), self.chain);
        Pair {
            certificate: write(dir, &format!("{file}.pem"), &chain, 0o644),
            key: write(dir, &format!("{file}.key"), &key.serialize_pem(), 0o600),
        }
    }
}

fn lns_identity(dir: &Path, file: &str, name: &str, names: &[String]) -> LnsIdentity {
    let root = Authority::root(name);
    LnsIdentity {
        root: write(dir, &format!("{file}-root.pem"), &root.pem, 0o644),
        root_der: root.der.clone(),
        server: root.server(dir, &format!("{file}-server"), names, Validity::Now),
    }
}

fn authority_params(name: &str, path_length: Option<u8>) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(match path_length {
        None => BasicConstraints::Unconstrained,
        Some(length) => BasicConstraints::Constrained(length),
    });
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 1, 1));
    params
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system gives random numbers")
}

fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("the certificate directory can be written");
    path
}
