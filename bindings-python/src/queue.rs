//! What work has come to, on its way from the gateway's threads to the thread that waits for it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade, Work};
use mcp_registry_gateway::{Error, Result};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::conversations::{Admitted, Hosted, Housed};

/// How often a thread that waits looks whether Python wants to be interrupted.
const LOOK: Duration = Duration::from_millis(100);

/// What work comes to.
pub(crate) enum Answer {
    Nothing,
    Bytes(Bytes),
    Truth(bool),
    Head(facade::Head),
    Admitted(facade::Admitted),
    Housed(facade::RegisteredServer),
    Hosted(facade::Hosted),
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}

impl From<bool> for Answer {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<Bytes> for Answer {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<facade::Head> for Answer {
    fn from(head: facade::Head) -> Self {
        Self::Head(head)
    }
}

impl From<facade::Admitted> for Answer {
    fn from(admitted: facade::Admitted) -> Self {
        Self::Admitted(admitted)
    }
}

impl From<facade::RegisteredServer> for Answer {
    fn from(housed: facade::RegisteredServer) -> Self {
        Self::Housed(housed)
    }
}

impl From<facade::Hosted> for Answer {
    fn from(hosted: facade::Hosted) -> Self {
        Self::Hosted(hosted)
    }
}

impl<T: Into<Self>> From<Option<T>> for Answer {
    fn from(answer: Option<T>) -> Self {
        answer.map_or(Self::Nothing, Into::into)
    }
}

/// How far a piece of work is that has a ticket.
enum Stage {
    /// It is being begun, by a thread that takes the outcome itself if there is one at once.
    Beginning,
    /// It had come to an end before it was begun.
    Over(Result<Answer>),
    UnderWay(Work),
}

/// Work that was begun: Python sees the ticket, a number, or what [`told`] gives.
pub(crate) enum Begun {
    UnderWay(u64),
    Over(Result<Answer>),
}

impl<'py> IntoPyObject<'py> for Begun {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(match self {
            Self::UnderWay(ticket) => ticket.into_pyobject(py)?.into_any(),
            Self::Over(outcome) => told(py, outcome)?.into_pyobject(py)?.into_any(),
        })
    }
}

#[derive(Default)]
struct Contents {
    /// What is done and was not taken out yet.
    done: Vec<(u64, Result<Answer>)>,
    /// What is under way.
    works: HashMap<u64, Stage>,
    /// The loop was woken and has not looked since.
    woken: bool,
}

struct Shared {
    contents: Mutex<Contents>,
    changed: Condvar,
    /// Written to where the loop is to look.
    wake: UnixStream,
    facade: Facade,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, ticket: u64, outcome: Result<Answer>) {
        let mut contents = self.lock();
        match contents.works.remove(&ticket) {
            None => return,
            Some(Stage::Beginning | Stage::Over(_)) => {
                contents.works.insert(ticket, Stage::Over(outcome));
                return;
            }
            Some(Stage::UnderWay(_)) => {}
        }
        contents.done.push((ticket, outcome));
        let wake = !std::mem::replace(&mut contents.woken, true);
        drop(contents);
        self.changed.notify_all();
        if wake {
            // Full, it is readable anyway; closed, nobody reads.
            let _ = (&self.wake).write(&[1]);
        }
    }
}

/// Tickets for work of one gateway, and what it came to; for one event loop, or for one thread that waits.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    read: UnixStream,
    next: AtomicU64,
}

impl Queue {
    pub(crate) fn of(facade: &Facade) -> PyResult<Self> {
        let (read, wake) = UnixStream::pair().map_err(PyOSError::new_err)?;
        read.set_nonblocking(true).and_then(|()| wake.set_nonblocking(true)).map_err(PyOSError::new_err)?;
        let facade = facade.clone();
        let shared = Arc::new(Shared { contents: Mutex::default(), changed: Condvar::new(), wake, facade });
        Ok(Self { shared, read, next: AtomicU64::new(0) })
    }

    /// Begins `work`: its outcome, if it has one at once, or the ticket under which that will be found.
    pub(crate) fn begin<T: Into<Answer> + Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Begun {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        self.shared.lock().works.insert(ticket, Stage::Beginning);
        let shared = Arc::downgrade(&self.shared);
        let done = move |outcome: Result<T>| {
            if let Some(shared) = shared.upgrade() {
                shared.put(ticket, outcome.map(Into::into));
            }
        };
        // Other threads of the program may go on meanwhile: this one works for the gateway as far as the work goes at once.
        let work = py.detach(|| self.shared.facade.run(work, done));
        let mut contents = self.shared.lock();
        if let Some(Stage::Over(outcome)) = contents.works.remove(&ticket) {
            return Begun::Over(outcome);
        }
        contents.works.insert(ticket, Stage::UnderWay(work));
        Begun::UnderWay(ticket)
    }
}

#[pymethods]
impl Queue {
    /// The descriptor that is readable when there is something to take out.
    fn fileno(&self) -> i32 {
        self.read.as_raw_fd()
    }

    /// Takes out what is done: `(ticket, succeeded, value)`, where the value of a failure is its document.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let _ = (&self.read).read(&mut [0; 64]);
        let done = {
            let mut contents = self.shared.lock();
            contents.woken = false;
            std::mem::take(&mut contents.done)
        };
        let told = done.into_iter().map(|(ticket, outcome)| {
            let (succeeded, value) = told(py, outcome)?;
            Ok((ticket, succeeded, value))
        });
        PyList::new(py, told.collect::<PyResult<Vec<_>>>()?)
    }

    /// Waits for one ticket: `(succeeded, value)`. An interruption cancels the work.
    fn wait(&self, py: Python<'_>, ticket: u64) -> PyResult<(bool, Py<PyAny>)> {
        loop {
            let outcome = py.detach(|| {
                let contents = self.shared.lock();
                let waited = self.shared.changed.wait_timeout_while(contents, LOOK, |contents| {
                    !contents.done.iter().any(|(done, _)| *done == ticket)
                });
                let (mut contents, _) = waited.unwrap_or_else(PoisonError::into_inner);
                let place = contents.done.iter().position(|(done, _)| *done == ticket);
                place.map(|place| contents.done.swap_remove(place).1)
            });
            if let Some(outcome) = outcome {
                return told(py, outcome);
            }
            py.check_signals().inspect_err(|_| self.cancel(ticket))?;
        }
    }

    /// Cancels the work of a ticket; nothing comes of it any more.
    fn cancel(&self, ticket: u64) {
        if let Some(Stage::UnderWay(work)) = self.shared.lock().works.remove(&ticket) {
            work.cancel();
        }
    }

    /// How much is under way.
    fn in_flight(&self) -> usize {
        self.shared.lock().works.len()
    }
}

impl Drop for Queue {
    /// The loop is gone: nobody waits for what is under way.
    fn drop(&mut self) {
        for stage in self.shared.lock().works.drain().map(|(_, stage)| stage) {
            if let Stage::UnderWay(work) = stage {
                work.cancel();
            }
        }
    }
}

fn told(py: Python<'_>, outcome: Result<Answer>) -> PyResult<(bool, Py<PyAny>)> {
    let value = match outcome {
        Err(error) => return Ok((false, document(py, &error))),
        Ok(Answer::Nothing) => py.None(),
        Ok(Answer::Bytes(bytes)) => PyBytes::new(py, &bytes).into_any().unbind(),
        Ok(Answer::Truth(truth)) => truth.into_pyobject(py)?.to_owned().into_any().unbind(),
        Ok(Answer::Admitted(admitted)) => Py::new(py, Admitted(admitted))?.into_any(),
        Ok(Answer::Housed(housed)) => Py::new(py, Housed(housed))?.into_any(),
        Ok(Answer::Hosted(hosted)) => Py::new(py, Hosted(hosted))?.into_any(),
        Ok(Answer::Head(head)) => {
            let headers = head.headers.iter();
            let headers = headers.map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)));
            let headers = PyList::new(py, headers.collect::<Vec<_>>())?;
            (head.status, headers).into_pyobject(py)?.into_any().unbind()
        }
    };
    Ok((true, value))
}

fn document(py: Python<'_>, error: &Error) -> Py<PyAny> {
    PyBytes::new(py, &facade::error_document(error)).into_any().unbind()
}
