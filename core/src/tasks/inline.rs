//! Tasks that are run by the thread that wakes them.
//!
//! To wake a thread that sleeps costs an idle machine more than a whole call does, and a call that is brought by a thread of the
//! host's wakes two: one of the runtime's, and in the end the host's again. So the thread that brings work runs it itself, as far
//! as it goes at once, and with it the tasks that it wakes, such as the other end of a link within the process. A task that then
//! has to wait is woken where the awaited event happens, and goes on on the runtime.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use async_task::Runnable;
use tokio::runtime::Handle;
use tokio::task::coop::has_budget_remaining;

use super::Tasks;

/// Steps that a thread takes in a row. A call at a server of the process takes eight; one that goes on for longer than this must not keep
/// a thread that has other things to do, such as an event loop's.
const STEPS: usize = 64;

#[derive(Default)]
struct LocalQueue {
    at_work: bool,
    next: VecDeque<Runnable>,
}

thread_local! {
    /// The tasks that this thread is to run next, while it is at work.
    static DESK: RefCell<LocalQueue> = RefCell::default();
}

/// A task that was not run yet. Dropped, it never is.
#[must_use = "a task that is dropped is not run"]
pub struct InlineTask(Runnable);

impl Tasks {
    /// Runs `work` like [`Tasks::spawn`], or where it is woken: see [`Tasks::near`].
    ///
    /// Must be called within a tokio runtime.
    pub fn spawn_near<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.child_token();
        let stopped = async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = work => {}
            }
        };
        self.near(&Handle::current(), stopped).schedule();
    }

    /// A task that runs to its end, also past [`Tasks::stop`]: on the runtime of `handle`, or on a thread that is at work on such
    /// tasks when it wakes this one. That may be a thread of the host's, in the middle of a call to the gateway: `work` must not
    /// call functions of the host's, nor wait for a thread.
    pub fn near<F>(&self, handle: &Handle, work: F) -> InlineTask
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let home = handle.clone();
        let place = move |task| {
            if let Some(task) = enqueue_local(task) {
                spawn(&home, task);
            }
        };
        let (task, running) = async_task::spawn(self.tracker.track_future(work), place);
        running.detach();
        InlineTask(task)
    }
}

impl InlineTask {
    /// Runs it soon.
    pub fn schedule(self) {
        self.0.schedule();
    }

    /// Runs it on this thread now, with the tasks that it wakes, as far as that goes at once. On a thread that works for a
    /// runtime it is only scheduled: there it is run next anyway.
    pub fn run_here(self, handle: &Handle) {
        if Handle::try_current().is_ok() {
            return self.schedule();
        }
        // Within the runtime, whose timers the work needs, and by its rules: a task that never has to wait is interrupted at some
        // time.
        handle.block_on(async { run_local(self.0) });
    }
}

fn spawn(home: &Handle, task: Runnable) {
    drop(home.spawn(async { run_local(task) }));
}

/// Lays a task on the desk of this thread, or returns it if the thread is not at work.
fn enqueue_local(task: Runnable) -> Option<Runnable> {
    let mut task = Some(task);
    // A thread that ends has no desk any more.
    let _ = DESK.try_with(|desk| {
        let mut desk = desk.borrow_mut();
        if desk.at_work {
            desk.next.extend(task.take());
        }
    });
    task
}

/// Runs `task`, and the tasks woken by it, and by those.
fn run_local(task: Runnable) {
    let mut next = Some(task);
    DESK.with_borrow_mut(|desk| desk.at_work = true);
    for _ in 0..STEPS {
        // Without a budget, every awaited thing is said not to be there yet.
        let Some(task) = next.take_if(|_| has_budget_remaining()) else { break };
        // A task that panics is over, as on a runtime: the hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
        next = DESK.with_borrow_mut(|desk| desk.next.pop_front());
    }
    let left = DESK.with_borrow_mut(|desk| {
        desk.at_work = false;
        std::mem::take(&mut desk.next)
    });
    for task in next.into_iter().chain(left) {
        task.schedule();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::thread::{self, ThreadId};

    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::mpsc;

    use super::*;

    /// One whose threads are never at hand: its tasks wait until it is dropped.
    fn asleep() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn awake() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// Sends back the messages that it receives.
    fn echo(tasks: &Tasks, handle: &Handle) -> (mpsc::Sender<ThreadId>, mpsc::Receiver<ThreadId>) {
        let ((ask, mut asked), (answer, answered)) = (mpsc::channel(1), mpsc::channel(1));
        let serving = async move {
            while asked.recv().await.is_some() {
                answer.send(thread::current().id()).await.unwrap();
            }
        };
        tasks.near(handle, serving).run_here(handle);
        (ask, answered)
    }

    #[test]
    fn who_brings_work_runs_it_with_what_it_wakes_and_no_other_thread_is_needed() {
        let (runtime, tasks) = (asleep(), Tasks::default());
        let (ask, mut answered) = echo(&tasks, runtime.handle());
        let told = Arc::new(Mutex::new(None));
        let work = {
            let told = Arc::clone(&told);
            async move {
                ask.send(thread::current().id()).await.unwrap();
                *told.lock().unwrap() = answered.recv().await;
            }
        };
        tasks.near(runtime.handle(), work).run_here(runtime.handle());
        assert_eq!(*told.lock().unwrap(), Some(thread::current().id()));
    }

    #[test]
    fn what_has_to_wait_goes_on_on_the_runtime() {
        let (runtime, tasks) = (awake(), Tasks::default());
        let (go, mut may_go) = mpsc::channel::<()>(1);
        let (told, where_it_ran) = std::sync::mpsc::channel();
        let work = async move {
            told.send(thread::current().id()).unwrap();
            may_go.recv().await;
            told.send(thread::current().id()).unwrap();
        };
        tasks.near(runtime.handle(), work).run_here(runtime.handle());
        assert_eq!(where_it_ran.try_recv().unwrap(), thread::current().id());
        go.blocking_send(()).unwrap();
        assert_ne!(where_it_ran.recv().unwrap(), thread::current().id());
    }

    #[test]
    fn what_never_ends_keeps_nobody_and_what_panics_hurts_nobody() {
        let (runtime, tasks) = (awake(), Tasks::default());
        let busy = async {
            loop {
                tokio::task::yield_now().await;
            }
        };
        tasks.near(runtime.handle(), busy).run_here(runtime.handle());
        let (always, mut ready) = mpsc::channel(1);
        let greedy = async move {
            loop {
                always.send(()).await.unwrap();
                ready.recv().await;
            }
        };
        tasks.near(runtime.handle(), greedy).run_here(runtime.handle());
        tasks.near(runtime.handle(), async { panic!("on purpose") }).run_here(runtime.handle());
        let (ask, mut answered) = echo(&tasks, runtime.handle());
        ask.blocking_send(thread::current().id()).unwrap();
        assert!(answered.blocking_recv().is_some());
    }

    #[test]
    fn on_a_thread_of_a_runtime_work_is_scheduled_and_not_run_within_who_brings_it() {
        let (runtime, tasks) = (awake(), Tasks::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let (inner, outer) = (note("inner"), note("outer"));
        let (handle, others) = (runtime.handle().clone(), tasks.clone());
        let work = async move {
            others.near(&handle, async move { inner() }).run_here(&handle);
            outer();
        };
        tasks.near(runtime.handle(), work).run_here(runtime.handle());
        assert_eq!(*order.lock().unwrap(), ["outer", "inner"]);
    }

    #[test]
    fn what_waits_when_the_runtime_ends_is_dropped_when_it_is_woken() {
        let (runtime, tasks) = (asleep(), Tasks::default());
        let handle = runtime.handle().clone();
        let (ask, answered) = echo(&tasks, &handle);
        drop(runtime);
        drop(ask);
        assert!(answered.is_closed(), "its end is gone");
    }
}
