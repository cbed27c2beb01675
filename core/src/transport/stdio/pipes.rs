//! The parts of a child's link, without the child: a test serves the other end of pipes in memory.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::budget::Budget;
use super::{LOG_LINES, child};
use crate::clock::Clock;
use crate::error::Result;
use crate::tasks::Tasks;
use crate::transport::duplex::{Conversation, DuplexLink, Ending, QUEUE};
use crate::transport::{Connector, Link};

type Serve = dyn Fn(DuplexStream) + Send + Sync;

/// Hands the server's end of each new connection to a function, which has it served.
pub(crate) struct Pipes {
    pub(crate) serve: Box<Serve>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Tasks,
    /// Whether each link counts as a process of its own.
    pub(crate) is_child: bool,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipes")
    }
}

#[async_trait]
impl Connector for Pipes {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        // Smaller than a message, so that one can be cut in its middle.
        let (near, far) = tokio::io::duplex(64);
        (self.serve)(far);
        let (output, input) = tokio::io::split(near);
        let (queue, queued) = mpsc::channel(QUEUE);
        let (troubles, mut trouble) = mpsc::channel(4);
        let talk = Conversation::new("pipes".into(), own, queue, Arc::default());
        let writing = child::write(input, queued, troubles.clone());
        let reading = child::read(output, talk.clone(), troubles, Budget::new(self.clock.clone(), LOG_LINES));
        let (link, stop) = (DuplexLink::new(talk.clone()), self.tasks.token().clone());
        self.tasks.spawn(async move {
            let over = async {
                tokio::select! {
                    () = talk.closing.cancelled() => {}
                    () = stop.cancelled() => {}
                    _ = trouble.recv() => {}
                }
            };
            // Both ends of the pipe are let go of together, as those of a child that was reaped.
            tokio::select! { biased; () = over => {}, ((), ()) = async { tokio::join!(reading, writing) } => {} }
            talk.exchanges.end(Ending { message: "the pipes were cut".into(), status: None, last_words: None });
            talk.finish();
        });
        Ok(Arc::new(link))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    fn is_duplex(&self) -> bool {
        self.is_child
    }

    fn remembers_clients(&self) -> bool {
        !self.is_child
    }

    fn starts_process(&self) -> bool {
        self.is_child
    }
}
