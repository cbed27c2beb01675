//! `/docs`: the OpenAPI document as one page without scripts, which works without a network.

use std::fmt::Write;

use axum::body::Body;
use http::Response;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::openapi;

/// Shows the documentation
#[utoipa::path(get, path = "/docs", tag = "operation",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html")))]
pub(crate) async fn page() -> Response<Body> {
    let document = serde_json::to_value(openapi::document()).unwrap_or_default();
    let mut response = Response::new(Body::from(render(&document)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code,pre{font:0.9em ui-monospace,monospace}summary{cursor:pointer;padding:.4rem 0}details{border-top:1px solid #8884}\
details>div{padding:0 0 1rem 1rem}.m{display:inline-block;min-width:4.5rem;font-weight:700}table{border-collapse:collapse}\
td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}a{color:inherit}";

fn render(document: &Value) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let title = escape(text(&document["info"]["title"]));
    // Writing into a string cannot fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title} \
         <small>{}</small></h1>{}<p>The same for programs: <a href=\"/openapi.json\">/openapi.json</a></p>",
        escape(text(&document["info"]["version"])),
        prose(text(&document["info"]["description"])),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        let _ = write!(page, "<h2>{}</h2>{}", escape(name), prose(text(&tag["description"])));
        for (path, item) in members(&document["paths"]) {
            for (method, operation) in members(item) {
                if operation["tags"][0] == name {
                    render_operation(&mut page, path, method, operation);
                }
            }
        }
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let _ = write!(
            page,
            "<details id=\"{0}\"><summary><code>{0}</code></summary><div>{1}",
            escape(name),
            prose(text(&schema["description"])),
        );
        render_schema(&mut page, schema);
        page.push_str("</div></details>");
    }
    page.push_str("</html>\n");
    page
}

fn render_operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<details><summary><span class=\"m\">{}</span> <code>{}</code> {}</summary><div>{}",
        method.to_uppercase(),
        escape(path),
        inline(text(&operation["summary"])),
        prose(text(&operation["description"])),
    );
    if let Some(parameters) = operation["parameters"].as_array() {
        page.push_str("<table><tr><th>Parameter<th>In<th>Type<th>What</tr>");
        for parameter in parameters {
            let required = if parameter["required"] == true { " (required)" } else { "" };
            let _ = write!(
                page,
                "<tr><td><code>{}</code>{required}<td>{}<td>{}<td>{}</tr>",
                escape(text(&parameter["name"])),
                escape(text(&parameter["in"])),
                type_of(&parameter["schema"]),
                inline(text(&parameter["description"])),
            );
        }
        page.push_str("</table>");
    }
    for (media, content) in members(&operation["requestBody"]["content"]) {
        let _ = write!(page, "<p>Body: <code>{}</code> {}</p>", escape(media), type_of(&content["schema"]));
    }
    page.push_str("<table><tr><th>Status<th>What<th>Body</tr>");
    for (status, response) in members(&operation["responses"]) {
        let bodies: Vec<String> =
            members(&response["content"]).map(|(_, content)| type_of(&content["schema"])).collect();
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escape(status),
            inline(text(&response["description"])),
            bodies.join(" or "),
        );
    }
    page.push_str("</table></div></details>");
}

fn render_schema(page: &mut String, schema: &Value) {
    if !schema["properties"].is_object() {
        let _ = write!(page, "<p>{}</p>", type_of(schema));
        return;
    }
    page.push_str("<table><tr><th>Member<th>Type<th>What</tr>");
    for (name, member) in members(&schema["properties"]) {
        let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
        let _ = write!(
            page,
            "<tr><td><code>{}</code>{}<td>{}<td>{}</tr>",
            escape(name),
            if required { "" } else { " (optional)" },
            type_of(member),
            inline(text(&member["description"])),
        );
    }
    page.push_str("</table>");
}

/// A schema in a few words, with links to those that have a name.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#{0}\"><code>{0}</code></a>", escape(name));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("<code>{}</code>", escape(text(value)))).collect();
        return values.join(", ");
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[key].as_array() {
            return parts.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    let word = |kind: &Value| match (kind.as_str(), schema["format"].as_str()) {
        (Some("array"), _) => format!("list of {}", type_of(&schema["items"])),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        (Some("object"), _) if schema["properties"].is_object() => {
            let inner: Vec<String> = members(&schema["properties"])
                .map(|(name, member)| format!("<code>{}</code>: {}", escape(name), type_of(member)))
                .collect();
            format!("{{{}}}", inner.join(", "))
        }
        (Some("string"), Some(format)) => format!("string ({})", escape(format)),
        (Some(kind), _) => escape(kind),
        (None, _) => "anything".into(),
    };
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(word).collect::<Vec<_>>().join(" or "),
        kind => word(kind),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn prose(text: &str) -> String {
    text.split("\n\n").filter(|part| !part.trim().is_empty()).fold(String::new(), |mut page, part| {
        let _ = write!(page, "<p>{}</p>", inline(part));
        page
    })
}

/// One line with its `code` marked.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(i, part)| match i % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    });
    parts.collect()
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_route_and_fetches_nothing() {
        let document = serde_json::to_value(openapi::document()).unwrap();
        let page = render(&document);
        for (path, _) in members(&document["paths"]) {
            assert!(page.contains(&format!("<code>{}</code>", escape(path))), "{path}");
        }
        for fetched in ["<script", "<link", "<img", "http://", "https://", "@import", "url("] {
            assert!(!page.contains(fetched), "{fetched}");
        }
    }
}
