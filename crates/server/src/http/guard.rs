//! Who may ask what: the threats are other web sites in the user's browser, and clients that hold on to resources.
//!
//! - a page of another site cannot change anything: `Origin` must be our own, `Sec-Fetch-Site` must not be another's, and a body
//!   must be declared as JSON, which another site can only send after a preflight that is never granted;
//! - a name that an attacker points to this machine (DNS rebinding) is not ours: the `Host` must be loopback or configured;
//! - nothing inline runs, nothing is loaded from elsewhere, nobody frames us (content security policy);
//! - a request that takes too long ends with 504.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Context;
use crate::problem::Problem;

const CSP: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// What reads whole topics may take longer.
const LONG: Duration = Duration::from_secs(120);

pub(crate) async fn guard(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| String::from("screens"), |path| path.as_str().to_owned());
    let settings = &context.app.settings;
    let limit = match route.as_str() {
        "/api/v1/recount" | "/api/v1/features/replay" | "/api/v1/features/verify" => LONG,
        // It has its own limit, and an answer of its own when that is over.
        "/api/v1/form" => settings.form_timeout + settings.request_timeout,
        _ => settings.request_timeout,
    };
    let mut response = match check(&request, &settings.allowed_hosts) {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("{route} took longer than {} s", limit.as_secs()),
                "try again; the page of operations shows what the program is busy with",
            )
            .into_response(),
        },
    };
    context.metrics.request(&route, response.status().as_u16());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What the API answers is personal and changes at every moment.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

fn check(request: &Request, allowed: &[String]) -> Result<(), Problem> {
    let headers = request.headers();
    let host = text(headers, header::HOST)
        .or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str))
        .unwrap_or_default();
    if headers.get_all(header::HOST).iter().count() > 1 || !host_is_ours(host, allowed) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this server does not answer to the name {host:?}"),
            "use http://127.0.0.1 or http://localhost with the port, or add the name to `server.allowed_hosts`",
        ));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // It publishes although it is a GET, because the system that it comes from has it so.
    let changes = !reads || request.uri().path().starts_with("/publish/");
    if !changes {
        return Ok(());
    }
    let foreign = |what: &str| {
        Problem::new(
            StatusCode::FORBIDDEN,
            format!("a change was asked for by another site ({what})"),
            "use the program's own screens, or a client that is not a browser",
        )
    };
    if let Some(site) = text(headers, HeaderName::from_static("sec-fetch-site"))
        && !matches!(site, "same-origin" | "none")
    {
        return Err(foreign(&format!("Sec-Fetch-Site: {site}")));
    }
    if let Some(origin) = text(headers, header::ORIGIN) {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host)) {
            return Err(foreign(&format!("Origin: {origin}")));
        }
    }
    if !reads && let Some(kind) = text(headers, header::CONTENT_TYPE) {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("a body of type {kind:?} is not accepted"),
                "send JSON with `content-type: application/json`",
            ));
        }
    }
    Ok(())
}

/// Whether the `Host` is loopback or configured; the port does not matter.
fn host_is_ours(host: &str, allowed: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        // An IPv6 address in brackets.
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost")
        || name == "::1"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let allowed = [String::from("vigie.example")];
        for (host, ours) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("localhost:1", true),
            ("LOCALHOST", true),
            ("[::1]:8080", true),
            ("vigie.example", true),
            ("vigie.example:443", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:80@evil.example", false),
            ("[::1].evil.example", false),
            ("192.168.0.1", false),
            ("", false),
        ] {
            assert_eq!(host_is_ours(host, &allowed), ours, "{host}");
        }
    }
}
