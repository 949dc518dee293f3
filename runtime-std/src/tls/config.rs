//! Certificates, keys and roots, from files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a server shows: a certificate chain and its key. Cheap to clone.
///
/// To reload, load a new one and use it for the sessions from then on.
#[derive(Clone)]
pub struct ServerConfig(pub(super) Arc<rustls::ServerConfig>);

impl ServerConfig {
    /// Reads a certificate chain (the server's own first) and its private key,
    /// both PEM. They may be the same file.
    ///
    /// # Errors
    /// [`ConfigError`] with the file and what is wrong with it.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, ConfigError> {
        let chain = read_certificates(certificates)?;
        let private_key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| ConfigError::pem(key, "private key", error))?;
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new(certificates, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private_key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    let certificates = certificates.display();
                    ConfigError::new(key, format!("the key is not the one of {certificates}"))
                }
                rustls::Error::InvalidCertificate(_) => {
                    ConfigError::new(certificates, error.to_string())
                }
                error => ConfigError::new(key, error.to_string()),
            })?;
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").finish_non_exhaustive()
    }
}

/// Whom a client trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// A file of certificates (PEM). With it the system's own are not used.
    pub file: Option<PathBuf>,
}

/// Whom a client trusts, ready for use. Cheap to clone.
#[derive(Clone)]
pub struct ClientConfig(pub(super) Arc<rustls::ClientConfig>);

impl ClientConfig {
    /// Reads the roots: of the file, if one is named, else the system's.
    /// System roots that cannot be read are logged, as long as one can.
    ///
    /// # Errors
    /// [`ConfigError`] with the file and what is wrong with it, or if the
    /// system has no roots.
    pub fn load(roots: &Roots) -> Result<Self, ConfigError> {
        let store = match &roots.file {
            Some(file) => roots_of_file(file)?,
            None => roots_of_system()?,
        };
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError {
                path: None,
                what: error.to_string(),
            })?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig").finish_non_exhaustive()
    }
}

/// A certificate, a key or a root that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: Option<PathBuf>,
    what: String,
}

impl ConfigError {
    fn new(path: &Path, what: impl Into<String>) -> Self {
        Self {
            path: Some(path.to_path_buf()),
            what: what.into(),
        }
    }

    fn pem(path: &Path, wanted: &str, error: pem::Error) -> Self {
        let what = match error {
            pem::Error::NoItemsFound => format!("there is no {wanted} in it (PEM is expected)"),
            pem::Error::Io(error) => error.to_string(),
            error => format!("not a {wanted} in PEM form: {error:?}"),
        };
        Self::new(path, what)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for ConfigError {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| ConfigError::pem(path, "certificate", error))?;
    if certificates.is_empty() {
        return Err(ConfigError::pem(
            path,
            "certificate",
            pem::Error::NoItemsFound,
        ));
    }
    Ok(certificates)
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| ConfigError::new(path, error.to_string()))?;
    }
    Ok(store)
}

fn roots_of_system() -> Result<RootCertStore, ConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (_, ignored) = store.add_parsable_certificates(found.certs);
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    if ignored > 0 {
        tracing::debug!(
            ignored,
            "some of the system's root certificates are not understood"
        );
    }
    if store.is_empty() {
        return Err(ConfigError {
            path: None,
            what: "the system has no root certificates; name a file of them".to_owned(),
        });
    }
    Ok(store)
}
