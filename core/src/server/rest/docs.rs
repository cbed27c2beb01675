//! `/docs`: the reference of the REST API as a page on which calls can be tried. It is Scalar, and works without a network.
//!
//! The page loads its script and the OpenAPI document from the gateway and nothing from anywhere else, which its content security
//! policy holds. Styles that the script makes carry the nonce of the page; the attributes `style` that it sets cannot, so that these
//! are allowed. `core/assets/scalar` says how the script is made.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::schema::Missing;
use crate::error::{Error, ErrorKind, Result};
use crate::server::answer::Failure;

/// The script of `@scalar/api-reference`, compressed.
const SCRIPT: &[u8] = include_bytes!("../../../assets/scalar/scalar.js.gz");
/// The licences of the packages in it.
const LICENSES: &str = include_str!("../../../assets/scalar/LICENSES.txt");
const LICENSES_NAME: &str = "licenses.txt";

/// The name that the script is served under: it changes with its content, so that a browser can keep it for ever.
static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| {
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, SCRIPT));
    format!("scalar-{}.js", hash.get(..16).unwrap_or(&hash))
});

/// How the page is set up: nothing is fetched from or told to another host, and a credential is kept no longer than the page.
const CONFIGURATION: &str = r#"{"withDefaultFonts":false,"telemetry":false,"hideClientButton":true,"showDeveloperTools":"never","agent":{"disabled":true},"mcp":{"disabled":true},"persistAuth":false,"authentication":{"preferredSecurityScheme":"bearer"}}"#;

/// Gives the page's nonce to each style that a script makes: the editor in the page makes some that have none of their own.
const NONCES: &str = "const make = Document.prototype.createElement, { nonce } = document.currentScript;\
    Document.prototype.createElement = function (name, options) {\
    const made = make.call(this, name, options);\
    if (made.localName === 'style') made.nonce = nonce;\
    return made };";

/// Serves the API reference for browsers
#[utoipa::path(get, path = "/docs", tag = "operation",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html")))]
pub(crate) async fn page() -> Result<Response<Body>, Failure> {
    let nonce = nonce()?;
    let mut response = Response::new(Body::from(render(&nonce)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::try_from(policy(&nonce)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// Serves the files of the API reference
#[utoipa::path(get, path = "/docs/{asset}", tag = "operation", params(("asset" = String, Path)),
    responses((status = 200, description = "The page's script, compressed with gzip, or the licences of what is in it",
        content((String = "text/javascript"), (String = "text/plain"))), Missing))]
pub(crate) async fn asset(Path(asset): Path<String>) -> Result<Response<Body>, Failure> {
    let (body, kind) = match asset.as_str() {
        LICENSES_NAME => (Body::from(LICENSES), "text/plain; charset=utf-8"),
        name if name == *SCRIPT_NAME => (Body::from(SCRIPT), "text/javascript; charset=utf-8"),
        _ => {
            return Err(
                Error::new(ErrorKind::NotFound, "`/docs` loads no such file; load the page again").into()
            );
        }
    };
    let mut response = Response::new(body);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if asset != LICENSES_NAME {
        // Every browser takes gzip, and nothing else loads it.
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    }
    Ok(response)
}

fn nonce() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(ErrorKind::Internal, "the operating system returned no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page. Its links are relative, so that it also works where an application has mounted the gateway below a path.
fn render(nonce: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>MCP Registry Gateway: API reference</title>\
         <meta property=\"csp-nonce\" content=\"{nonce}\"><link rel=\"icon\" href=\"data:,\">\
         <link rel=\"license\" href=\"docs/{LICENSES_NAME}\"></head>\
         <body><noscript>This page needs scripts. <a href=\"openapi.json\">openapi.json</a> describes the same for programs.</noscript>\
         <script nonce=\"{nonce}\">{NONCES}</script>\
         <script id=\"api-reference\" type=\"application/json\" data-url=\"openapi.json\" data-configuration='{CONFIGURATION}'></script>\
         <script nonce=\"{nonce}\" src=\"docs/{}\"></script></body></html>\n",
        *SCRIPT_NAME
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_runs_no_script_without_its_nonce() {
        let (one, other) = (nonce().unwrap(), nonce().unwrap());
        assert!(one != other && one.len() == 22);
        let (page, policy) = (render(&one), policy(&one));
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("//"), "{page}");
        let scripts = page.split("<script ").skip(1);
        assert!(
            scripts.clone().count() == 3
                && scripts.clone().all(|script| {
                    script.starts_with(&format!("nonce=\"{one}\""))
                        || script.starts_with("id=\"api-reference\" type=\"application/json\"")
                })
        );
        let sources = policy.split("; ").find(|directive| directive.starts_with("script-src"));
        assert_eq!(sources, Some(&*format!("script-src 'nonce-{one}'")));
        assert_eq!(policy.matches("unsafe-inline").count(), 1, "attributes of style alone");
        assert!(
            serde_json::from_str::<serde_json::Value>(CONFIGURATION).is_ok() && !CONFIGURATION.contains('\'')
        );
    }

    #[test]
    fn the_licences_name_what_is_in_the_script() {
        for package in ["@scalar/api-reference", "@vue/runtime-core ", "@codemirror/view "] {
            assert!(LICENSES.contains(package), "{package}");
        }
        assert!(LICENSES.contains("Copyright (c) 2023-present Scalar"));
    }
}
