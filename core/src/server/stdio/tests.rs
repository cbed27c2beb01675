use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

use super::*;
use crate::clock::SystemClock;
use crate::gateway::Settings;
use crate::model::TenantId;
use crate::store::memory::MemoryStore;
use crate::tasks::Tasks;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;

struct Served {
    input: WriteHalf<DuplexStream>,
    output: BufReader<ReadHalf<DuplexStream>>,
    stop: CancellationToken,
    ended: CancellationToken,
    _tasks: Tasks,
}

impl Served {
    async fn new(max_line: usize) -> Self {
        let settings = Settings { probing: false, ..Settings::default() };
        let gateway =
            Gateway::open(settings, Arc::new(MemoryStore::new()), SystemClock::shared()).await.unwrap();
        let client = Stdio {
            route: Endpoint::all(),
            principal: Principal::local(TenantId::default_tenant()),
            max_line,
            grace: Duration::from_secs(5),
        };
        let (near, far) = tokio::io::duplex(1024);
        let (input, output) = tokio::io::split(far);
        let (stop, ended, tasks) = (CancellationToken::new(), CancellationToken::new(), Tasks::default());
        let (told, done) = (stop.clone(), ended.clone());
        tasks.spawn(async move {
            serve(&gateway, client, input, output, told).await;
            done.cancel();
        });
        let (output, input) = tokio::io::split(near);
        Self { input, output: BufReader::new(output), stop, ended, _tasks: tasks }
    }

    async fn say(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.write_all(b"\n").await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), self.output.read_line(&mut line));
        read.await.expect("silence").unwrap();
        serde_json::from_str(&line).unwrap_or_default()
    }

    async fn ended(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.ended.cancelled()).await.expect("it goes on");
    }
}

#[tokio::test]
async fn a_line_over_the_limit_is_an_error_and_the_next_is_read() {
    let mut served = Served::new(1024).await;
    served.say(&"x".repeat(5000)).await;
    let refused = served.hear().await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["data"]["limit_bytes"]),
        (&(-31413).into(), &"1024".into())
    );
    served.say("not json").await;
    assert_eq!(served.hear().await["error"]["code"], -32700);
    served.say("").await;
    served.say(HELLO).await;
    assert_eq!(served.hear().await["id"], 0);
}

#[tokio::test]
async fn the_end_of_input_ends_the_service_after_the_last_answer() {
    let mut served = Served::new(4096).await;
    served.say(HELLO).await;
    served.say(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    served.input.shutdown().await.unwrap();
    assert_eq!(served.hear().await["id"], 0);
    assert_eq!(served.hear().await["id"], 1);
    served.ended().await;
    assert_eq!(served.hear().await, Value::Null, "nothing more is written");
}

#[tokio::test]
async fn a_closed_output_and_a_call_to_stop_end_it_too() {
    let mut served = Served::new(4096).await;
    served.say(HELLO).await;
    served.stop.cancel();
    served.ended().await;

    let mut served = Served::new(4096).await;
    served.say(HELLO).await;
    let Served { input, output, ended, _tasks, .. } = served;
    drop((input, output));
    tokio::time::timeout(Duration::from_secs(20), ended.cancelled()).await.expect("it goes on");
}
