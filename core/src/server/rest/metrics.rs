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
use crate::model::{HealthStatus, ServerState, Status, TransportType};
use crate::server::AppState;
use crate::server::answer::Failure;

/// The label of the services that are not named. No service is called that: a name begins with a letter or digit.
const OTHERS: &str = "_others";

/// One metric of `/metrics`.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type: `gauge`, `counter` or `summary`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its meaning, as the comment before its samples has it.
    pub help: &'static str,
    /// Whether only administrators of `default` are shown it: it counts over all tenants.
    pub whole: bool,
}

macro_rules! metrics {
    ($($name:ident = $kind:literal $text:literal [$($label:literal),*] $help:literal $(, $whole:ident)?;)+) => {
        $(const $name: Metric = Metric {
            name: concat!("mcp_gateway_", $text),
            kind: $kind,
            labels: &[$($label),*],
            help: $help,
            whole: false $(|| metrics!($whole))?,
        };)+

        /// Every metric, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$($name),+];
    };
    (whole) => { true };
}

metrics! {
    BUILD_INFO = "gauge" "build_info" ["version"] "The version of the gateway.";
    SERVERS = "gauge" "servers" ["status"] "Registered servers by their configured status.";
    BY_HEALTH = "gauge" "servers_by_health" ["health"] "Registered servers by observed health.";
    BY_TRANSPORT = "gauge" "servers_by_transport" ["transport"] "Registered servers by transport.";
    BY_STATE = "gauge" "servers_by_state" ["state"] "Registered servers by whether they serve.";
    SESSIONS = "gauge" "sessions" [] "Client sessions of the tenant that are open.";
    ACTIVE = "gauge" "active_requests" [] "Calls of the tenant in flight, and streams that its clients hold open.";
    ALL_SESSIONS = "gauge" "all_sessions" [] "Client sessions of all tenants that are open.", whole;
    ALL_REQUESTS = "gauge" "all_requests" [] "Calls and open streams of all tenants.", whole;
    LIMIT_CALLS = "gauge" "limit_calls" [] "Calls that hold a slot.", whole;
    LIMIT_PLACES = "gauge" "limit_places" [] "Slots for calls.", whole;
    LIMIT_WAITING = "gauge" "limit_waiting" [] "Calls that wait for a slot.", whole;
    LIMIT_WINDOWS = "gauge" "limit_windows" [] "Callers and tenants that are counted now.", whole;
    BANS = "counter" "bans_total" [] "Callers that were banned.", whole;
    AUDIT_WRITTEN = "counter" "audit_written_total" [] "Audit rows written beside mutations.", whole;
    AUDIT_WAITING = "gauge" "audit_waiting" [] "Audit rows that wait to be written.", whole;
    AUDIT_LOST = "counter" "audit_lost_total" [] "Audit rows that were never written.", whole;
    AUDIT_FAILURES = "counter" "audit_failures_total" [] "Writes of audit rows that failed.", whole;
    SHARED_READS = "counter" "shared_reads_total" [] "Lists and resources answered by the fetch of an equal request.", whole;
    REFUSALS = "counter" "limit_refusals_total" ["reason"]
        "Requests refused by a limit: `rate` for too many a minute, `crowd` for too many at once.", whole;
    SERVICE_SERVERS = "gauge" "service_servers" ["service"] "Servers of a service.";
    BREAKERS = "gauge" "service_breakers_open" ["service"] "Servers whose circuit breaker is not closed.";
    IN_FLIGHT = "gauge" "service_requests_in_flight" ["service"] "Calls in flight.";
    REQUESTS = "counter" "service_requests_total" ["service"] "Calls sent to servers.";
    RESULTS = "counter" "service_results_total" ["service", "result"] "Calls that servers answered or failed.";
    RESPONSE = "summary" "service_response_seconds" ["service"] "Times to the first byte of an answer.";
    SET_ASIDE = "gauge" "service_set_aside" ["service"]
        "Servers whose calls other replicas take, except for probes: they refused calls (429), or are outliers.";
    PAUSES = "counter" "service_pauses_total" ["service"] "Pauses of servers that refused calls (429).";
    EJECTIONS = "counter" "service_ejections_total" ["service"] "Servers that became outliers among their replicas.";
    CONNECTIONS = "gauge" "service_connections" ["service"] "Connections to servers that carry a call.";
    QUEUED = "gauge" "service_queued" ["service"] "Calls that wait for a connection.";
    QUEUE_WAIT = "summary" "service_queue_seconds" ["service"] "Times that calls waited for a connection.";
    QUEUE_REFUSALS = "counter" "service_queue_refusals_total" ["service"]
        "Calls refused because the queue for connections was full (`configuration.max_queued`).";
}

/// Returns the metrics in the text format of Prometheus
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
struct MetricsPage(String);

impl MetricsPage {
    /// Begins a metric.
    fn metric(&mut self, metric: &Metric) {
        let Metric { name, kind, help, .. } = metric;
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A metric that is one number.
    fn number(&mut self, metric: &Metric, value: impl Display) {
        self.metric(metric);
        self.sample(metric.name, &[], value);
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
        metric: &Metric,
        services: &[ServiceMetrics],
        value: impl Fn(&ServiceMetrics) -> V,
    ) {
        self.metric(metric);
        for service in services {
            self.sample(metric.name, &[("service", label(service))], value(service));
        }
    }
}

fn label(service: &ServiceMetrics) -> &str {
    service.service.as_deref().unwrap_or(OTHERS)
}

fn written(stats: &Stats, services: &[ServiceMetrics]) -> String {
    let mut page = MetricsPage::default();
    page.metric(&BUILD_INFO);
    page.sample(BUILD_INFO.name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    servers(&mut page, stats);
    page.number(&SESSIONS, stats.sessions);
    page.number(&ACTIVE, stats.active_requests);
    if let Some(all) = &stats.gateway {
        whole(&mut page, all);
    }
    by_service(&mut page, services);
    page.0
}

/// The registered servers by their states.
fn servers(page: &mut MetricsPage, stats: &Stats) {
    let words = |all: &[&'static str], counts: &std::collections::BTreeMap<&'static str, u64>| {
        all.iter().map(|word| (*word, counts.get(word).copied().unwrap_or(0))).collect::<Vec<_>>()
    };
    let status: Vec<_> = Status::ALL.iter().map(|word| word.as_str()).collect();
    let health: Vec<_> = HealthStatus::ALL.iter().map(|word| word.as_str()).collect();
    let state: Vec<_> = ServerState::ALL.iter().map(|word| word.as_str()).collect();
    let transport: Vec<_> = TransportType::ALL.iter().map(|word| word.as_str()).collect();
    for (metric, counts) in [
        (&SERVERS, words(&status, &stats.servers_by_status)),
        (&BY_HEALTH, words(&health, &stats.servers_by_health)),
        (&BY_TRANSPORT, words(&transport, &stats.servers_by_transport)),
        (&BY_STATE, words(&state, &stats.servers_by_state)),
    ] {
        page.metric(metric);
        for (word, count) in counts {
            page.sample(metric.name, &[(metric.labels[0], word)], count);
        }
    }
}

/// The counts of each service.
fn by_service(page: &mut MetricsPage, services: &[ServiceMetrics]) {
    page.by_service(&SERVICE_SERVERS, services, |service| service.servers);
    page.by_service(&BREAKERS, services, |service| service.breakers_open);
    page.by_service(&IN_FLIGHT, services, |service| service.in_flight);
    page.by_service(&REQUESTS, services, |service| service.total);
    page.metric(&RESULTS);
    for service in services {
        for (result, count) in [("success", service.successes), ("failure", service.failures)] {
            page.sample(RESULTS.name, &[("service", label(service)), ("result", result)], count);
        }
    }
    page.metric(&RESPONSE);
    let name = RESPONSE.name;
    for service in services {
        let of = [("service", label(service))];
        page.sample(&format!("{name}_sum"), &of, service.latency.as_secs_f64());
        page.sample(&format!("{name}_count"), &of, service.successes + service.failures);
    }
    page.by_service(&SET_ASIDE, services, |service| service.set_aside);
    page.by_service(&PAUSES, services, |service| service.pauses);
    page.by_service(&EJECTIONS, services, |service| service.ejections);
    page.by_service(&CONNECTIONS, services, |service| service.connections);
    page.by_service(&QUEUED, services, |service| service.queued);
    page.metric(&QUEUE_WAIT);
    let name = QUEUE_WAIT.name;
    for service in services {
        let of = [("service", label(service))];
        page.sample(&format!("{name}_sum"), &of, service.queue_wait.as_secs_f64());
        page.sample(&format!("{name}_count"), &of, service.queue_waits);
    }
    page.by_service(&QUEUE_REFUSALS, services, |service| service.queue_refusals);
}

/// The metrics of all tenants together.
fn whole(page: &mut MetricsPage, all: &GatewayStats) {
    let (limits, audit) = (&all.limits, &all.audit);
    for (metric, value) in [
        (&ALL_SESSIONS, all.sessions),
        (&ALL_REQUESTS, all.active_requests),
        (&LIMIT_CALLS, limits.calls),
        (&LIMIT_PLACES, limits.max_calls),
        (&LIMIT_WAITING, limits.waiting),
        (&LIMIT_WINDOWS, limits.windows),
        (&BANS, limits.bans),
        (&AUDIT_WRITTEN, audit.written),
        (&AUDIT_WAITING, audit.waiting),
        (&AUDIT_LOST, audit.lost),
        (&AUDIT_FAILURES, audit.failures),
        (&SHARED_READS, all.shared_reads),
    ] {
        page.number(metric, value);
    }
    page.metric(&REFUSALS);
    for (reason, count) in [("rate", limits.rate_refusals), ("crowd", limits.crowd_refusals)] {
        page.sample(REFUSALS.name, &[("reason", reason)], count);
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
        let listed: Vec<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        let shown: Vec<_> = text
            .lines()
            .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
            .collect();
        assert_eq!(shown, listed, "the list is of those that are shown, in their order");
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
