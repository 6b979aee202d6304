//! The client commands, one file each: what is asked of the server and how the answer is shown.

pub(crate) mod classes;
pub(crate) mod dead;
pub(crate) mod deploy;
pub(crate) mod get;
pub(crate) mod input;
pub(crate) mod invocation;
pub(crate) mod invoke;
pub(crate) mod key;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod new;
pub(crate) mod node;
pub(crate) mod promote;
pub(crate) mod rm;
pub(crate) mod rollback;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod watch;
