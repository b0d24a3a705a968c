//! Tokio's own figures, as far as it promises to keep them.

use chassis::RuntimeFigures;
use tokio::runtime::Handle;

/// What the runtime of the calling task says of itself.
pub fn figures() -> RuntimeFigures {
    let runtime = Handle::current().metrics();
    let workers = runtime.num_workers();
    RuntimeFigures {
        workers,
        tasks: runtime.num_alive_tasks(),
        queue_length: runtime.global_queue_depth(),
        busy: (0..workers).map(|worker| runtime.worker_total_busy_duration(worker)).sum(),
        parks: (0..workers).map(|worker| runtime.worker_park_count(worker)).sum(),
    }
}
