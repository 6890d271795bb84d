//! Reads who a JSON web token speaks for and until when: librdkafka wants to know, and nothing more is checked here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;

/// `Err` says what is wrong, without the token.
pub(crate) fn parse(token: &str) -> Result<OAuthToken, String> {
    let mut parts = token.split('.');
    let (_, Some(claims)) = (parts.next(), parts.next()) else {
        return Err(String::from("the token is not a JSON web token: it has no second part"));
    };
    let claims = claims.trim_end_matches('=');
    let claims =
        URL_SAFE_NO_PAD.decode(claims).map_err(|_| "the second part of the token is not base64url")?;
    let claims = String::from_utf8(claims).map_err(|_| "the claims of the token are not text")?;
    let principal_name = text_claim(&claims, "sub").ok_or("the token has no claim `sub`")?;
    let expires = number_claim(&claims, "exp").ok_or("the token has no claim `exp`")?;
    Ok(OAuthToken { token: token.to_owned(), principal_name, lifetime_ms: expires.saturating_mul(1_000) })
}

/// What stands behind `"name":` in a flat JSON object.
fn behind<'a>(claims: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = claims.split_once(&format!("\"{name}\""))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn text_claim(claims: &str, name: &str) -> Option<String> {
    let (text, _) = behind(claims, name)?.strip_prefix('"')?.split_once('"')?;
    Some(text.to_owned())
}

fn number_claim(claims: &str, name: &str) -> Option<i64> {
    let rest = behind(claims, name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_are_found() {
        // {"alg":"none"} . {"sub":"app","exp":2000000000, "iat": 1.5}
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhcHAiLCJleHAiOjIwMDAwMDAwMDAsICJpYXQiOiAxLjV9.";
        let parsed = parse(token).unwrap();
        assert_eq!((parsed.principal_name.as_str(), parsed.lifetime_ms), ("app", 2_000_000_000_000));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        for bad in ["", "secret", "a.?.c", "eyJhbGciOiJub25lIn0.e30."] {
            let refused = parse(bad).err().unwrap();
            assert!(bad.is_empty() || !refused.contains(bad), "{refused}");
        }
    }
}
