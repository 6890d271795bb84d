//! Logging in: the two requests of Kafka's SASL, and what each mechanism puts into them.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kafka_wire_protocol::schema::sasl_authenticate_request::v2::SaslAuthenticateRequest;
use kafka_wire_protocol::schema::sasl_authenticate_response::v2::SaslAuthenticateResponse;
use kafka_wire_protocol::schema::sasl_handshake_request::v1::SaslHandshakeRequest;
use kafka_wire_protocol::schema::sasl_handshake_response::v1::SaslHandshakeResponse;
use ring::rand::{SecureRandom, SystemRandom};

use super::scram::Scram;
use super::{Connection, WireError};
use crate::Sasl;

/// Logs in; says for how long, where the broker limits it.
pub(super) fn log_in(
    connection: &mut Connection,
    login: &Sasl,
    deadline: Instant,
) -> Result<Option<Duration>, WireError> {
    let mechanism = login.mechanism();
    let refused = {
        let address = connection.address.clone();
        move |reason: String| WireError::Login { address: address.clone(), mechanism, reason }
    };
    let secret = |secret: &crate::Secret| secret.read().map_err(|error| refused(error.to_string()));

    let answer: SaslHandshakeResponse =
        connection.call_until(&SaslHandshakeRequest::new(mechanism), deadline)?;
    if answer.error_code != 0 {
        return Err(refused(format!("it offers {} only", answer.mechanisms.join(", "))));
    }
    let mut send = |text: Vec<u8>| -> Result<SaslAuthenticateResponse, WireError> {
        let answer: SaslAuthenticateResponse =
            connection.call_until(&SaslAuthenticateRequest::new(text), deadline)?;
        if answer.error_code == 0 {
            return Ok(answer);
        }
        let reason = answer.error_message.unwrap_or_else(|| format!("error {}", answer.error_code));
        Err(refused(format!("{reason}; check user and password")))
    };
    let answer = match login {
        Sasl::Plain { user, password } => send(format!("\0{user}\0{}", secret(password)?).into_bytes())?,
        Sasl::OauthBearer { token } => {
            // RFC 7628: no authorisation identity, one field, separated by control-A.
            let answer = send(format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", secret(token)?).into_bytes())?;
            if !answer.auth_bytes.is_empty() {
                // The broker's complaint; it waits for one more message before it says no.
                return Err(refused(String::from_utf8_lossy(&answer.auth_bytes).into_owned()));
            }
            answer
        }
        Sasl::Scram { hash, user, password } => {
            let password = secret(password)?;
            let nonce = nonce().map_err(&refused)?;
            let mut scram = Scram::new(*hash, user, &password, &nonce);
            let first = send(scram.first().into_bytes())?;
            let last = scram.last(&String::from_utf8_lossy(&first.auth_bytes)).map_err(&refused)?;
            let answer = send(last.into_bytes())?;
            scram.check(&String::from_utf8_lossy(&answer.auth_bytes)).map_err(&refused)?;
            answer
        }
    };
    Ok(u64::try_from(answer.session_lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
}

/// Eighteen random bytes from the system, as text. Randomness of the program's own would not do: the login's safety hangs on it.
fn nonce() -> Result<String, String> {
    let mut bytes = [0; 18];
    SystemRandom::new().fill(&mut bytes).map_err(|_| String::from("the system gives no random numbers"))?;
    Ok(STANDARD_NO_PAD.encode(bytes))
}
