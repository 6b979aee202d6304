//! A panic on a thread that moves the mesh's messages ends the process. Such a thread's other tasks are lost with it, and a
//! process that is alive, holds its liveliness token and hears nothing is worse than one that is gone: others wait for it.

use std::process::abort;

/// The threads of Zenoh's runtimes, and those that hand messages to it.
const MESH_THREADS: [&str; 6] = ["acc-", "app-", "net-", "rx-", "tx-", "mesh-lane"];

/// Ends the process, after the usual message, when such a thread panics.
pub(super) fn end_with_the_mesh() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if std::thread::current().name().is_some_and(is_of_the_mesh) {
            abort(); // like a power cut, which every part withstands; a supervisor starts it anew
        }
    }));
}

fn is_of_the_mesh(thread: &str) -> bool {
    MESH_THREADS.iter().any(|prefix| thread.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_and_nothing_else() {
        assert!(["rx-0", "rx-13", "net-1", "mesh-lane"].into_iter().all(is_of_the_mesh));
        assert!(["main", "tokio-runtime-worker", "log-writer"].iter().all(|thread| !is_of_the_mesh(thread)));
    }
}
