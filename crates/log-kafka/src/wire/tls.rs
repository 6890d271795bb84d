//! TLS sessions, configured as those of the data path: who may have signed the broker's certificate, and who we are.
//!
//! rustls in place of the data path's OpenSSL. What OpenSSL can and rustls cannot, an encrypted private key, is refused with advice.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use crate::Tls;

/// A session with `host`, not begun yet.
pub(super) fn session(tls: &Tls, host: &str) -> Result<ClientConnection, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots(tls.ca.as_deref())?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if tls.any_host {
        let verifier = AnyHost::new(roots, provider)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(roots)
    };
    let config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            if tls.key_password.is_some() {
                return Err(format!(
                    "the key in {} has a password, which streams groups cannot use; decrypt it (openssl pkey -in KEY -out PLAIN) and \
                     protect the file, or set membership = \"consumer\"",
                    key.display()
                ));
            }
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(|error| {
                format!("the certificate in {} cannot be used: {error}", certificate.display())
            })?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(String::from("a client certificate needs both: the certificate and its key")),
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("`{host}` is neither a name nor an address that a certificate could have"))?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
}

/// What to do about a handshake that failed.
pub(super) fn advice(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hint = match cause {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; it is signed by an authority that is not trusted: name the right one in the `ca` setting"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; it is made out to another host: use the name that stands in it",
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "; renew it, or set the clock",
        Some(Error::AlertReceived(_)) => "; the broker refused: does it ask for a client certificate?",
        Some(Error::InvalidMessage(_)) => "; does this port speak TLS?",
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            "; the broker hung up: does this port speak TLS, does it ask for a client certificate?"
        }
        _ => "",
    };
    format!("{error}{hint}")
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("an authority in {} cannot be used: {error}", path.display()))?;
            }
        }
        None => {
            // Those of the system; one that cannot be read does no harm as long as others can.
            let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(match ca {
            Some(path) => format!("there is no certificate in {}", path.display()),
            None => {
                String::from("this system has no list of trusted authorities; name one in the `ca` setting")
            }
        });
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("{} cannot be read as PEM certificates: {error}", path.display());
    CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        format!(
            "{} cannot be read as a PEM private key: {error}; an encrypted one must be decrypted (openssl pkey)",
            path.display()
        )
    })
}

/// Checks everything but the host's name, for tunnels: the signatures, the authority, the dates.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl AnyHost {
    fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(certificate, chain, name, ocsp, now) {
            // The name is the last thing to be checked: all else was in order.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
