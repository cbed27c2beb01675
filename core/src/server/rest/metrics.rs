//! `/metrics`: counts in the text format of Prometheus, version 0.0.4.
//!
//! Labels come from small fixed sets, or are names of the caller's own services, of which so many are named and the rest is
//! counted together: a scrape is bounded, and tells nothing of another tenant.

use std::fmt::{Display, Write};

use axum::body::Body;
use axum::extract::State;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::schema::Refused;
use crate::gateway::{Caller, GatewayStats, ServiceMetrics, Stats};
use crate::model::{HealthStatus, Status, TransportType};
use crate::server::AppState;
use crate::server::answer::Failure;

/// The label of the services that are not named. No service is called that: a name begins with a letter or digit.
const OTHERS: &str = "_others";

/// Shows counts in the text format of Prometheus
///
/// The servers, services, sessions and calls of the caller's tenant; for administrators of `default` the limits and the audit trail
/// of the whole gateway as well. Of more than 500 services, those beyond are counted together as `_others`.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The counts", body = String, content_type = "text/plain"), Refused))]
pub(crate) async fn metrics(State(door): State<AppState>, caller: Caller) -> Result<Response<Body>, Failure> {
    let text = written(&door.gateway.stats(&caller)?, &door.gateway.service_metrics(&caller)?);
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// A text under way. Values of labels need no escapes: they are words of this program or names of services.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A metric with one number for each service.
    fn by_service<V: Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        services: &[ServiceMetrics],
        value: impl Fn(&ServiceMetrics) -> V,
    ) {
        self.metric(name, kind, help);
        for service in services {
            self.sample(name, &[("service", label(service))], value(service));
        }
    }
}

fn label(service: &ServiceMetrics) -> &str {
    service.service.as_deref().unwrap_or(OTHERS)
}

fn written(stats: &Stats, services: &[ServiceMetrics]) -> String {
    let mut page = Page::default();
    page.metric("mcp_gateway_build_info", "gauge", "The version of the gateway.");
    page.sample("mcp_gateway_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    let words = |all: &[&'static str], counts: &std::collections::BTreeMap<&'static str, u64>| {
        all.iter().map(|word| (*word, counts.get(word).copied().unwrap_or(0))).collect::<Vec<_>>()
    };
    let status: Vec<_> = Status::ALL.iter().map(|word| word.as_str()).collect();
    let health: Vec<_> = HealthStatus::ALL.iter().map(|word| word.as_str()).collect();
    let transport: Vec<_> = TransportType::ALL.iter().map(|word| word.as_str()).collect();
    for (name, label, help, counts) in [
        (
            "mcp_gateway_servers",
            "status",
            "Registered servers by what the operator wants.",
            words(&status, &stats.servers_by_status),
        ),
        (
            "mcp_gateway_servers_by_health",
            "health",
            "Registered servers by observed health.",
            words(&health, &stats.servers_by_health),
        ),
        (
            "mcp_gateway_servers_by_transport",
            "transport",
            "Registered servers by transport.",
            words(&transport, &stats.servers_by_transport),
        ),
    ] {
        page.metric(name, "gauge", help);
        for (word, count) in counts {
            page.sample(name, &[(label, word)], count);
        }
    }
    page.metric("mcp_gateway_sessions", "gauge", "Client sessions of the tenant that are open.");
    page.sample("mcp_gateway_sessions", &[], stats.sessions);
    page.metric(
        "mcp_gateway_active_requests",
        "gauge",
        "Calls of the tenant under way, and streams that its clients hold open.",
    );
    page.sample("mcp_gateway_active_requests", &[], stats.active_requests);
    if let Some(all) = &stats.gateway {
        whole(&mut page, all);
    }

    let name = ("mcp_gateway_service_servers", "gauge", "Servers of a service.");
    page.by_service(name, services, |service| service.servers);
    let name = ("mcp_gateway_service_breakers_open", "gauge", "Servers whose circuit breaker is not closed.");
    page.by_service(name, services, |service| service.breakers_open);
    let name = ("mcp_gateway_service_requests_in_flight", "gauge", "Calls in flight.");
    page.by_service(name, services, |service| service.in_flight);
    let name = ("mcp_gateway_service_requests_total", "counter", "Calls sent to servers.");
    page.by_service(name, services, |service| service.total);

    let name = "mcp_gateway_service_results_total";
    page.metric(name, "counter", "Calls that servers answered or failed.");
    for service in services {
        for (result, count) in [("success", service.successes), ("failure", service.failures)] {
            page.sample(name, &[("service", label(service)), ("result", result)], count);
        }
    }
    let name = "mcp_gateway_service_response_seconds";
    page.metric(name, "summary", "Times to the first byte of an answer.");
    for service in services {
        let of = [("service", label(service))];
        page.sample(&format!("{name}_sum"), &of, service.latency.as_secs_f64());
        page.sample(&format!("{name}_count"), &of, service.successes + service.failures);
    }
    page.0
}

/// What concerns all tenants together.
fn whole(page: &mut Page, all: &GatewayStats) {
    let (limits, audit) = (&all.limits, &all.audit);
    for (name, kind, help, value) in [
        ("mcp_gateway_all_sessions", "gauge", "Client sessions of all tenants that are open.", all.sessions),
        ("mcp_gateway_all_requests", "gauge", "Calls and open streams of all tenants.", all.active_requests),
        ("mcp_gateway_limit_calls", "gauge", "Calls that have a place.", limits.calls),
        ("mcp_gateway_limit_places", "gauge", "Places for calls.", limits.max_calls),
        ("mcp_gateway_limit_waiting", "gauge", "Calls that wait for a place.", limits.waiting),
        ("mcp_gateway_limit_windows", "gauge", "Callers and tenants that are counted now.", limits.windows),
        ("mcp_gateway_bans_total", "counter", "Callers that were banned.", limits.bans),
        ("mcp_gateway_audit_written_total", "counter", "Audit rows written beside mutations.", audit.written),
        ("mcp_gateway_audit_waiting", "gauge", "Audit rows that wait to be written.", audit.waiting),
        ("mcp_gateway_audit_lost_total", "counter", "Audit rows that were never written.", audit.lost),
        ("mcp_gateway_audit_failures_total", "counter", "Writes of audit rows that failed.", audit.failures),
    ] {
        page.metric(name, kind, help);
        page.sample(name, &[], value);
    }
    let name = "mcp_gateway_limit_refusals_total";
    page.metric(name, "counter", "Requests refused by a limit, by too many a minute or too many at once.");
    for (reason, count) in [("rate", limits.rate_refusals), ("crowd", limits.crowd_refusals)] {
        page.sample(name, &[("reason", reason)], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_each_metric_is_described_once() {
        let named = |service: Option<&str>| ServiceMetrics {
            service: service.map(str::to_owned),
            servers: 2,
            failures: 3,
            latency: std::time::Duration::from_millis(1500),
            ..ServiceMetrics::default()
        };
        let stats = Stats { gateway: Some(GatewayStats::default()), ..Stats::default() };
        let text = written(&stats, &[named(Some("a.b-c")), named(None)]);
        let mut described = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(described.insert(name.to_owned()), "{name} is described twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = series.split('{').next().unwrap();
                let base = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
                assert!(described.contains(base), "{line}");
                assert!(series == name || series.ends_with("\"}"), "{line}");
            }
        }
        for line in [
            "mcp_gateway_servers{status=\"active\"} 0",
            "mcp_gateway_limit_refusals_total{reason=\"rate\"} 0",
            "mcp_gateway_service_servers{service=\"_others\"} 2",
            "mcp_gateway_service_results_total{service=\"a.b-c\",result=\"failure\"} 3",
            "mcp_gateway_service_response_seconds_sum{service=\"a.b-c\"} 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing of\n{text}");
        }
    }
}
