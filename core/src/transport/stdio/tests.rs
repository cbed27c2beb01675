//! Real children: shell and Python scripts that behave, and that do not.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::error::Delivery;
use crate::model::{
    Configuration, HealthCheck, HealthStatus, ServerId, ServiceName, Status, TenantId, TransportType,
};
use crate::rpc::{Message, Method};
use crate::transport::{Exchange, Outgoing};

/// Answers each request with its method, after what the method asks for: `progress` and `log` say something first,
/// `exit` ends the process without an answer, `never` is never answered, `env` answers with the environment,
/// `seen` with the notifications so far.
const SERVER: &str = r#"
import json, os, sys
seen = []
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if "id" not in message:
        seen.append(message)
        continue
    result = {"method": method}
    if method == "progress":
        say(method="notifications/progress", params={"progressToken": message["id"], "progress": 1})
    elif method == "log":
        say(method="notifications/message", params={"data": "x"})
    elif method == "changed":
        say(method="notifications/tools/list_changed")
    elif method == "exit":
        print("about to break", file=sys.stderr, flush=True)
        sys.exit(3)
    elif method == "never":
        continue
    elif method == "env":
        result = dict(os.environ)
    elif method == "seen":
        result = {"seen": seen}
    elif method == "long":
        result = {"text": "x" * (17 << 20)}
    say(id=message["id"], result=result)
"#;

struct Bench {
    connector: StdioConnector,
    clock: Arc<ManualClock>,
    tasks: Tasks,
}

fn server(command: &str, args: &[&str]) -> Server {
    let at = jiff::Timestamp::UNIX_EPOCH;
    Server {
        id: ServerId::random(),
        tenant_id: TenantId::default_tenant(),
        name: "child".to_owned(),
        service: ServiceName::new("child").unwrap(),
        endpoint: ServerEndpoint::Command {
            command: command.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: BTreeMap::from([("TOKEN".to_owned(), "configured".to_owned())]),
            cwd: None,
        },
        transport_type: TransportType::Stdio,
        version: None,
        display_name: None,
        description: None,
        tags: Vec::new(),
        weight: 1,
        auto_discover: true,
        health_check: HealthCheck::default(),
        configuration: Configuration { max_connections: 3, ..Configuration::default() },
        status: Status::Active,
        health_status: HealthStatus::Unknown,
        last_health_check: None,
        created_at: at,
        updated_at: at,
        revision: 1,
    }
}

fn bench(command: &str, args: &[&str]) -> Bench {
    let (clock, tasks) = (ManualClock::shared(), Tasks::default());
    let random = Arc::new(Random::seeded(1));
    let connector =
        StdioConnector::new(&server(command, args), clock.clone(), tasks.clone(), random).unwrap();
    Bench { connector, clock, tasks }
}

fn python(script: &str) -> Bench {
    bench("python3", &["-u", "-c", script])
}

fn shell(script: &str) -> Bench {
    bench("sh", &["-c", script])
}

fn outgoing(id: u64, method: &str, params: Option<&str>) -> Outgoing {
    Outgoing {
        id,
        method: Method::of(method),
        body: Message::request(Some(id), method, params),
        correlation_id: None,
        headers: None,
        pauses: None,
        queued: None,
        call: None,
    }
}

async fn ask(link: &Arc<dyn Link>, id: u64, method: &str) -> Result<Exchange> {
    let answer = link.request(outgoing(id, method, None));
    tokio::time::timeout(Duration::from_secs(20), answer).await.expect("an answer or an error in time")
}

async fn one(link: &Arc<dyn Link>, id: u64, method: &str) -> Message {
    match ask(link, id, method).await.unwrap() {
        Exchange::One(message) => message,
        Exchange::Many(_) => panic!("more than one message"),
    }
}

async fn failure(link: &Arc<dyn Link>, id: u64, method: &str) -> Error {
    ask(link, id, method).await.err().expect("a failure")
}

/// Processes of the group `leader`, zombies too.
fn members(leader: u32) -> Vec<String> {
    let wanted = leader.to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok())
        .filter(|stat| {
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(2) == Some(&wanted))
        })
        .collect()
}

/// Members of the group that run, or that this process has failed to reap. Orphans are process 1's to reap.
fn left(leader: u32) -> Vec<String> {
    let this = std::process::id().to_string();
    members(leader)
        .into_iter()
        .filter(|stat| {
            let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
            fields[0] != "Z" || fields[1] == this
        })
        .collect()
}

fn pid_of(message: &Message) -> u32 {
    message.result().unwrap().parse().unwrap()
}

/// Answers the first request, whose id must be 1, with the pid of the shell.
const ANSWER_PID: &str = r#"read -r line; echo '{"jsonrpc":"2.0","id":1,"result":'$$'}'; "#;

#[tokio::test]
async fn a_request_is_answered_and_nothing_of_the_gateways_secrets_reaches_the_child() {
    let bench = python(SERVER);
    let link = bench.connector.connect(true).await.unwrap();
    assert_eq!(one(&link, 1, "hello").await.result(), Some(r#"{"method": "hello"}"#));
    let environment = one(&link, 2, "env").await;
    let environment: BTreeMap<String, String> = serde_json::from_str(environment.result().unwrap()).unwrap();
    assert_eq!(environment["TOKEN"], "configured");
    assert!(!environment.keys().any(|name| name.starts_with("CARGO") || name.starts_with("NEXTEST")));
    link.close().await;
    assert!(!link.is_open());
}

#[tokio::test]
async fn what_the_server_says_on_the_way_comes_before_the_answer() {
    let bench = python(SERVER);
    let link = bench.connector.connect(true).await.unwrap();
    for method in ["progress", "log"] {
        let Exchange::Many(messages) = ask(&link, 7, method).await.unwrap() else { panic!("one message") };
        let messages: Vec<_> = messages.map(Result::unwrap).collect().await;
        assert_eq!(messages.len(), 2, "{method}");
        assert!(messages[0].method().is_some());
        assert_eq!(messages[1].id(), Some("7"));
    }
    link.close().await;
}

#[tokio::test]
async fn a_shared_link_gives_unasked_messages_to_the_listener_alone() {
    let bench = python(SERVER);
    let link = bench.connector.connect(false).await.unwrap();
    let mut unasked = link.listen().await.unwrap();
    assert!(link.listen().await.is_none(), "taken already");
    one(&link, 1, "log").await;
    one(&link, 2, "changed").await;
    assert_eq!(unasked.next().await.unwrap().method(), Some(&Method::LogMessage));
    assert_eq!(unasked.next().await.unwrap().method(), Some(&Method::ToolsChanged));
    link.close().await;
    assert!(unasked.next().await.is_none());
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_cancelled_at_the_server_but_never_initialize() {
    let bench = python(SERVER);
    let link = bench.connector.connect(true).await.unwrap();
    one(&link, 1, "hello").await;
    let short = Duration::from_millis(300);
    assert!(tokio::time::timeout(short, link.request(outgoing(2, "never", None))).await.is_err());
    let initialize = Outgoing { method: Method::Initialize, ..outgoing(3, "never", None) };
    assert!(tokio::time::timeout(short, link.request(initialize)).await.is_err());
    let seen = one(&link, 4, "seen").await;
    let seen: serde_json::Value = serde_json::from_str(seen.result().unwrap()).unwrap();
    assert_eq!(seen["seen"].as_array().unwrap().len(), 1);
    assert_eq!(seen["seen"][0]["method"], "notifications/cancelled");
    assert_eq!(seen["seen"][0]["params"]["requestId"], 2);
    link.close().await;
}

#[tokio::test]
async fn a_message_over_several_lines_reaches_the_child_as_one() {
    let bench = python(SERVER);
    let link = bench.connector.connect(true).await.unwrap();
    let body = Bytes::from_static(b"{\n  \"jsonrpc\": \"2.0\",\r\n  \"id\": 1,\n  \"method\": \"hello\"\n}");
    let answer = link.request(Outgoing { body, ..outgoing(1, "hello", None) }).await;
    assert!(matches!(answer, Ok(Exchange::One(_))));
    link.close().await;
}

#[tokio::test]
async fn the_exit_of_a_child_fails_what_is_under_way_and_names_status_and_last_words() {
    let bench = python(SERVER);
    let link = bench.connector.connect(true).await.unwrap();
    let (never, exit) = tokio::join!(failure(&link, 1, "never"), failure(&link, 2, "exit"));
    for error in [never, exit] {
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown));
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("about to break"), "{text}");
    }
    assert!(!link.is_open());
    let late = failure(&link, 3, "hello").await;
    assert_eq!((late.kind(), late.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
}

#[tokio::test]
async fn a_child_that_keeps_dying_is_started_again_later_and_later() {
    let bench = shell("exit 1");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let link = bench.connector.connect(false).await.unwrap();
        failure(&link, 1, "hello").await;
        let error = bench.connector.connect(false).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        let wait = error.retry_delay().unwrap();
        waits.push(wait.as_secs_f64());
        bench.clock.advance(wait);
    }
    for (wait, expected) in waits.iter().zip([0.5, 1.0, 2.0, 4.0]) {
        assert!((0.8..=1.2).contains(&(wait / expected)), "{waits:?}");
    }
}

#[tokio::test]
async fn output_that_is_no_message_is_passed_over() {
    let noise = r#"printf 'Listening on stdio\n\n{"no":"message"}\n\377\376\n[1,2]\n'; "#;
    let bench = shell(&format!("{noise}{ANSWER_PID} exec cat"));
    let link = bench.connector.connect(true).await.unwrap();
    assert!(pid_of(&one(&link, 1, "hello").await) > 1);
    link.close().await;
}

#[tokio::test]
async fn a_line_over_the_limit_stops_the_child_and_the_error_names_the_limit() {
    let bench = python(SERVER);
    let link = bench.connector.connect(true).await.unwrap();
    let error = failure(&link, 1, "long").await;
    assert_eq!(error.kind(), ErrorKind::BadUpstream);
    assert!(error.message().contains("16 MiB"), "{error}");
    link.close().await;
}

#[tokio::test]
async fn a_flood_on_standard_error_holds_up_nothing() {
    let flood =
        "import sys\nfor _ in range(50): sys.stderr.write(('x' * 4095 + '\\n') * 128 + 'y' * (1 << 19))\n";
    let bench = python(&format!("{flood}{SERVER}"));
    let link = bench.connector.connect(true).await.unwrap();
    assert!(one(&link, 1, "hello").await.result().is_some());
    link.close().await;
}

#[tokio::test]
async fn a_child_that_reads_nothing_fails_what_was_not_sent_and_no_other_child() {
    let deaf = shell("exec sleep 1000");
    let (link, other) = (deaf.connector.connect(true).await.unwrap(), python(SERVER));
    let hearing = other.connector.connect(true).await.unwrap();
    let big = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
    let first = link.request(outgoing(1, "big", Some(&big)));
    let second = async {
        one(&hearing, 1, "hello").await;
        tokio::time::pause();
        failure(&link, 2, "hello").await
    };
    let error = tokio::select! {
        error = second => error,
        _ = first => panic!("nobody answers"),
    };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    link.close().await;
    hearing.close().await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_stopped() {
    let bench = shell("exec >&-; exec sleep 1000");
    let link = bench.connector.connect(true).await.unwrap();
    let error = failure(&link, 1, "hello").await;
    assert!(error.message().contains("closed its standard output"), "{error}");
    link.close().await;
}

#[tokio::test]
async fn closing_ends_a_child_that_ignores_the_end_of_its_input_and_sigterm() {
    let bench = shell(&format!("trap '' TERM; {ANSWER_PID} while :; do sleep 1; done"));
    let link = bench.connector.connect(true).await.unwrap();
    let pid = pid_of(&one(&link, 1, "hello").await);
    assert!(!left(pid).is_empty());
    // The child waits for nothing: only the gateway's patience takes time.
    tokio::time::pause();
    link.close().await;
    assert_eq!(left(pid), [""; 0]);
}

#[tokio::test]
async fn what_a_wrapper_started_dies_with_it() {
    let bench = shell(&format!("sleep 1000 & sleep 1001 & {ANSWER_PID} exec cat"));
    let link = bench.connector.connect(true).await.unwrap();
    let pid = pid_of(&one(&link, 1, "hello").await);
    assert_eq!(left(pid).len(), 3);
    tokio::time::pause();
    link.close().await;
    // All are killed at once, but only the wrapper can be waited for: the others end when the system lets them.
    tokio::time::resume();
    for _ in 0..1000 {
        if left(pid).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left(pid), [""; 0]);
}

#[tokio::test]
async fn a_child_whose_link_was_dropped_is_reaped_and_so_is_each_when_the_tasks_stop() {
    let bench = shell(&format!("{ANSWER_PID} exec cat"));
    let dropped = bench.connector.connect(true).await.unwrap();
    let first = pid_of(&one(&dropped, 1, "hello").await);
    let kept = bench.connector.connect(true).await.unwrap();
    let second = pid_of(&one(&kept, 1, "hello").await);
    drop(dropped);
    bench.tasks.stop().await;
    assert_eq!((left(first), left(second)), (Vec::new(), Vec::new()));
    assert!(!kept.is_open());
    assert_eq!(bench.connector.connect(true).await.unwrap_err().delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn a_hundred_cycles_leave_no_child_and_no_zombie() {
    let bench = shell(&format!("sleep 1000 & {ANSWER_PID} kill $!; exec cat"));
    let mut pids = Vec::new();
    for cycle in 0..100 {
        let link = bench.connector.connect(cycle % 2 == 0).await.unwrap();
        pids.push(pid_of(&one(&link, 1, "hello").await));
        // Half are closed, half are only dropped: the limit of three holds all the same.
        if cycle % 2 == 0 {
            link.close().await;
        }
    }
    bench.tasks.stop().await;
    for pid in pids {
        assert_eq!(left(pid), [""; 0]);
    }
}

#[tokio::test]
async fn more_children_than_allowed_are_refused_by_the_name_of_the_limit() {
    let bench = shell("exec cat");
    let mut links = Vec::new();
    for _ in 0..3 {
        links.push(bench.connector.connect(true).await.unwrap());
    }
    let error = bench.connector.connect(true).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert!(error.to_string().contains("max_connections: 3"), "{error}");
    // One that is leaving makes room.
    links.pop();
    links.push(bench.connector.connect(true).await.unwrap());
    bench.tasks.stop().await;
}

#[tokio::test]
async fn a_missing_program_is_named_without_starting_anything_and_backs_off() {
    let bench = bench("no-such-program-here", &[]);
    let error = bench.connector.check().await.unwrap_err();
    assert!(error.to_string().contains("no-such-program-here"), "{error}");
    assert_eq!(bench.connector.connect(true).await.unwrap_err().retry_delay(), None);
    assert!(bench.connector.connect(true).await.unwrap_err().retry_delay().is_some());
    assert!(shell("exit 0").connector.check().await.is_ok());
}

#[tokio::test]
async fn a_server_without_a_command_is_refused() {
    let endpoint = ServerEndpoint::Url { endpoint_url: "http://127.0.0.1:1/mcp".to_owned() };
    let server = Server { endpoint, ..server("sh", &[]) };
    let random = Arc::new(Random::seeded(1));
    let error = StdioConnector::new(&server, SystemClock::shared(), Tasks::default(), random).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidParams);
}

/// The pid in the first line of `file`, once it is there.
#[cfg(target_os = "linux")]
async fn pid_in(file: &Path) -> u32 {
    let read = async {
        loop {
            match std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
                Some(pid) => return pid,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the pid in time")
}

/// Whether the process runs; one that nobody reaped yet does not.
#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Processes that leave the group of the child, each in its own way.
#[cfg(target_os = "linux")]
const LEAVERS: [(&str, &str); 5] = [
    ("a session of its own", "setsid sh -c 'echo $$ > FILE; exec sleep 1000' &"),
    ("a session of its own, and its parent gone", "(setsid sh -c 'echo $$ > FILE; exec sleep 1000' &)"),
    ("deaf to SIGTERM", "(setsid sh -c 'trap : TERM; echo $$ > FILE; while :; do sleep 1; done' &)"),
    ("two sessions further on", "(setsid sh -c 'setsid sh -c \"echo \\$\\$ > FILE; exec sleep 1000\" &' &)"),
    (
        "an empty environment, under the child",
        "env -i /usr/bin/setsid -w /bin/sh -c 'echo $$ > FILE; exec /bin/sleep 1000' &",
    ),
];

/// A descendant that left the group on purpose ends when the link is closed, when it is dropped, and when the child ends by itself.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_left_the_group_dies_with_the_child() {
    for (what, leaves) in LEAVERS {
        for ending in ["closed", "dropped", "stopped", "ended by itself"] {
            if ending == "ended by itself" && what.contains("empty environment") {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("pid");
            let leaves = leaves.replace("FILE", &file.display().to_string());
            let then = if ending == "ended by itself" { "read -r line; exit" } else { "exec cat" };
            let bench = shell(&format!("{leaves}\n{ANSWER_PID} {then}"));
            let link = bench.connector.connect(true).await.unwrap();
            let (child, stray) = (pid_of(&one(&link, 1, "hello").await), pid_in(&file).await);
            let other = shell(&format!("{ANSWER_PID} exec cat"));
            let kept = other.connector.connect(true).await.unwrap();
            let unconcerned = pid_of(&one(&kept, 1, "hello").await);
            assert!(runs(stray), "{what}");
            match ending {
                "closed" => link.close().await,
                "dropped" => drop(link),
                "stopped" => {}
                _ => drop(ask(&link, 2, "bye").await),
            }
            bench.tasks.stop().await;
            assert!(!runs(stray) && left(child).is_empty(), "{what}, {ending}");
            assert!(runs(unconcerned), "another child is not concerned");
            kept.close().await;
        }
    }
}

const KILL_ITSELF: &str = "MCP_GATEWAY_TEST_KILL_ITSELF";

/// The other half of the next test, which runs it in a process of its own; by itself it does nothing.
#[test]
fn a_gateway_that_is_killed() {
    if std::env::var_os(KILL_ITSELF).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stray = std::env::var_os(KILL_ITSELF).unwrap().into_string().unwrap();
        let leaves = format!("(setsid sh -c 'echo $$ > {stray}; exec sleep 1000' &)");
        let bench =
            shell(&format!("trap '' TERM; sleep 1000 &\n{leaves}\n{ANSWER_PID} while :; do sleep 1; done"));
        let link = bench.connector.connect(true).await.unwrap();
        let pid = pid_of(&one(&link, 1, "hello").await);
        println!("pid={pid}");
        #[cfg(target_os = "linux")]
        pid_in(Path::new(&stray)).await;
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn a_gateway_that_is_killed_leaves_no_descendant() {
    let itself = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let name = "transport::stdio::tests::a_gateway_that_is_killed";
    let output = Command::new(itself)
        .args(["--exact", name, "--nocapture"])
        .env(KILL_ITSELF, &file)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let pid: u32 = output.lines().find_map(|line| line.split_once("pid=")).unwrap().1.parse().unwrap();
    let gone = async {
        while !left(pid).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the guardian ends the group");
    #[cfg(target_os = "linux")]
    {
        let stray = pid_in(&file).await;
        let gone = async {
            while runs(stray) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .expect("the guardian ends what left the group");
    }
}
