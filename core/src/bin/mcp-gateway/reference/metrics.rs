//! `metrics.md`: every metric.

use mcp_registry_gateway::server::METRICS;

use super::{code, head, table};

const ABOUT: &str = "
`GET /metrics` answers in the text format of Prometheus, to callers who may `metrics.read` ([permissions](permissions.md)). Counts are those of the
caller's tenant; metrics over all tenants are shown to administrators of `default`. Of more than 500 services, those beyond are
counted together as `_others`.

";

pub(super) fn page() -> String {
    let rows = METRICS.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| code(label)).collect();
        let scope = if metric.whole { "all tenants" } else { "the caller's tenant" };
        vec![code(metric.name), metric.kind.into(), labels.join(" "), scope.into(), metric.help.into()]
    });
    head("Metrics", "the metrics that `/metrics` shows")
        + ABOUT
        + &table(&["metric", "type", "labels", "counts", "meaning"], rows)
}
