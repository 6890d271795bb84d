//! The client's side of SCRAM (RFC 5802, RFC 7677): proves the knowledge of a password without sending it, and checks that the server
//! knows it too.
//!
//! Pure: the nonce comes from outside.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use crate::ScramHash;

/// Fewer rounds than RFC 7677 asks for mean a server that wants the password.
const LEAST_ROUNDS: u32 = 4096;

/// One exchange.
pub(super) struct Scram<'a> {
    hash: ScramHash,
    password: &'a str,
    nonce: String,
    first_bare: String,
    /// What the server must answer at the end, base64.
    expected: Option<String>,
}

impl<'a> Scram<'a> {
    /// `nonce`: printable, without comma, never used before.
    pub(super) fn new(hash: ScramHash, user: &str, password: &'a str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password,
            nonce: nonce.to_owned(),
            first_bare: format!("n={user},r={nonce}"),
            expected: None,
        }
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The answer to the server's first message: the proof.
    pub(super) fn last(&mut self, server_first: &str) -> Result<String, String> {
        if let Some(error) = field(server_first, 'e') {
            return Err(error.to_owned());
        }
        let missing = |what| format!("the server's first message has no {what}");
        let nonce = field(server_first, 'r').ok_or_else(|| missing("nonce"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(String::from("the server did not add to our nonce: somebody may be in between"));
        }
        let salt = field(server_first, 's').ok_or_else(|| missing("salt"))?;
        let salt = STANDARD.decode(salt).map_err(|error| format!("the server's salt: {error}"))?;
        let rounds = field(server_first, 'i')
            .and_then(|rounds| rounds.parse().ok())
            .and_then(NonZeroU32::new)
            .ok_or_else(|| missing("count of rounds"))?;
        if rounds.get() < LEAST_ROUNDS {
            return Err(format!(
                "the server asks for {rounds} rounds only; {LEAST_ROUNDS} are the least that is safe"
            ));
        }

        let (derivation, mac, hash) = match self.hash {
            ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
            ScramHash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
        };
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(derivation, rounds, &salt, self.password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(mac, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = hmac::sign(&hmac::Key::new(mac, stored_key.as_ref()), message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let expected = hmac::sign(&hmac::Key::new(mac, server_key.as_ref()), message.as_bytes());
        self.expected = Some(STANDARD.encode(expected.as_ref()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Checks the server's last message: it knows the password too.
    pub(super) fn check(&self, server_last: &str) -> Result<(), String> {
        if let Some(error) = field(server_last, 'e') {
            return Err(error.to_owned());
        }
        match (field(server_last, 'v'), self.expected.as_deref()) {
            (Some(found), Some(expected)) if found == expected => Ok(()),
            _ => Err(String::from(
                "the server could not prove that it knows the password: it is not the one it seems",
            )),
        }
    }
}

/// The value of `name=value` in a list with commas.
fn field(message: &str, name: char) -> Option<&str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_standard() {
        let mut scram = Scram::new(ScramHash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = scram.last(server).unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        scram.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        scram.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=").unwrap_err();
        assert_eq!(scram.check("e=invalid-proof").unwrap_err(), "invalid-proof");
    }

    #[test]
    fn what_a_server_may_not_say() {
        let check = |server: &str, expect: &str| {
            let error = Scram::new(ScramHash::Sha512, "a=b,c", "secret", "abc").last(server).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("r=xyz,s=AAAA,i=4096", "nonce");
        check("r=abc,s=AAAA,i=4096", "nonce");
        check("s=AAAA,i=4096", "nonce");
        check("r=abcd,i=4096", "salt");
        check("r=abcd,s=?,i=4096", "salt");
        check("r=abcd,s=AAAA,i=many", "rounds");
        check("r=abcd,s=AAAA,i=1", "rounds");
        check("e=unknown-user", "unknown-user");
        assert_eq!(Scram::new(ScramHash::Sha512, "a=b,c", "", "abc").first(), "n,,n=a=3Db=2Cc,r=abc");
    }
}
