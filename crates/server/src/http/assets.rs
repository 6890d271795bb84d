//! The screens: files of `ui/dist`, embedded at build time.
//!
//! Files under `assets/` have their hash in their name and are kept by browsers for ever; the others are asked for again with their
//! ETag. What is text and larger than 1 KiB is compressed once and kept so.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::app::Context;
use crate::problem::Problem;

#[derive(rust_embed::RustEmbed)]
#[folder = "../../ui/dist"]
struct Dist;

/// Pages of the screens; each is `index.html`, which draws the page that the address says.
const PAGES: [&str; 11] = [
    "customers",
    "form",
    "queue",
    "pages",
    "shop",
    "users",
    "alerts",
    "anomalies",
    "operations",
    "model",
    "",
];
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Vigie</title></head><body>\
<h1>The screens have not been built</h1><p>This program was compiled without them. Build them and the program with \
<code>make run</code>; the interface under <code>/api/v1</code> works without.</p></body></html>";

/// One file as it is sent.
#[derive(Clone)]
struct Asset {
    plain: Bytes,
    gzip: Option<Bytes>,
    etag: HeaderValue,
    mime: &'static str,
    immutable: bool,
}

static SENT: LazyLock<RwLock<HashMap<String, Arc<Asset>>>> = LazyLock::new(RwLock::default);

/// Answers everything that no route answers.
pub(crate) async fn fallback(State(_): State<Arc<Context>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    if path.starts_with("api/") || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Problem::not_found(
            format!("there is no {} {}", request.method(), request.uri().path()),
            "GET /api/v1/openapi.json lists all there is",
        )
        .into_response();
    }
    let page = is_page(path);
    // An address that no page has, typed or followed in a browser: the screens say so themselves, and how to go on.
    let lost =
        !page && wants_html(&request) && !path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match load(if page || lost { "index.html" } else { path }) {
        Some(asset) if lost => {
            let mut response = send(&asset, &request);
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
        Some(asset) => send(&asset, &request),
        None if page => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOT_BUILT).into_response(),
        None => Problem::not_found(
            format!("there is no file {}", request.uri().path()),
            "load the page again: the program may have been updated",
        )
        .into_response(),
    }
}

fn wants_html(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn is_page(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    PAGES.contains(&path)
        || path.strip_prefix("customers/").is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

fn load(path: &str) -> Option<Arc<Asset>> {
    // Unoptimised builds read the files from disk, so that a rebuilt page shows without compiling: nothing is kept then.
    let keep = !cfg!(debug_assertions);
    if keep && let Some(asset) = SENT.read().unwrap_or_else(PoisonError::into_inner).get(path) {
        return Some(Arc::clone(asset));
    }
    let file = Dist::get(path)?;
    let hash: String =
        file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let plain = Bytes::from(file.data.into_owned());
    let mime = mime(path);
    let asset = Arc::new(Asset {
        gzip: compress(mime, &plain),
        etag: HeaderValue::from_str(&format!("\"{hash}\"")).ok()?,
        mime,
        immutable: path.starts_with("assets/"),
        plain,
    });
    if keep {
        SENT.write().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Arc::clone(&asset));
    }
    Some(asset)
}

fn compress(mime: &str, plain: &[u8]) -> Option<Bytes> {
    let text = mime.starts_with("text/") || mime.contains("json") || mime.contains("svg");
    if !text || plain.len() <= 1024 {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < plain.len()).then(|| Bytes::from(packed))
}

fn mime(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn send(asset: &Asset, request: &Request) -> Response {
    let asked = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::ETAG, asset.etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let caching = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    let etag = asset.etag.to_str().unwrap_or_default();
    if asked(header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag)
    }) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.mime));
    let accepts = asked(header::ACCEPT_ENCODING).is_some_and(|codings| {
        codings.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip")
                && !parts.any(|q| matches!(q, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    });
    let body = match &asset.gzip {
        Some(gzip) if accepts => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzip.clone()
        }
        _ => asset.plain.clone(),
    };
    *response.body_mut() = Body::from(body);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_known() {
        for (path, page) in [
            ("", true),
            ("customers", true),
            ("customers/", true),
            ("customers/c12", true),
            ("customers/c12/x", false),
            ("model", true),
            ("wp-admin.php", false),
            ("assets/x.js", false),
        ] {
            assert_eq!(is_page(path), page, "{path}");
        }
    }

    fn request(header: &str, value: &str) -> Request {
        Request::builder().uri("/x").header(header, value).body(Body::empty()).unwrap()
    }

    #[test]
    fn text_is_compressed_where_that_is_understood_and_known_files_are_not_sent_again() {
        let plain = Bytes::from("body { color: red }\n".repeat(100));
        let asset = Asset {
            gzip: compress("text/css", &plain),
            plain: plain.clone(),
            etag: HeaderValue::from_static("\"abc\""),
            mime: "text/css",
            immutable: true,
        };
        let sent = |name, value| send(&asset, &request(name, value));
        let coding = |response: Response| response.headers().contains_key(header::CONTENT_ENCODING);
        assert!(coding(sent("accept-encoding", "br, gzip;q=0.8")));
        assert!(!coding(sent("accept-encoding", "gzip;q=0")));
        assert!(!coding(sent("accept", "*/*")));
        assert_eq!(sent("if-none-match", "W/\"abc\"").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(sent("if-none-match", "\"abd\"").status(), StatusCode::OK);
        assert!(sent("a", "b").headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert!(compress("image/png", &plain).is_none());
        assert!(compress("text/css", b"short").is_none());
    }
}
