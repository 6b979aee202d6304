//! The gateway: stateless ingress that turns HTTP into mesh calls and their outcomes into HTTP. It holds no data and
//! decides nothing about objects; whatever it knows of the cluster is a hint in the mesh's directory.
//!
//! One request's way through this crate: `server` accepts the connection and hands the request, past `cors` and `traced`,
//! which tells of it, to `dispatch`, which
//! finds the resource by its path (`router`), lets the caller in or refuses it (`admission`), and runs its handler
//! (`invoke`, `objects`, `fields`, `classes`, `deploy`, ...). A handler reads the body (`body`), parses it into types
//! (`forms`, `etag`, `query`), and asks the cluster (`route`), which finds the leader and tries again where that is
//! safe. A gRPC call comes the same way, on the same connections: `grpc` reads it into the same types and calls what the
//! handlers call, and so does what is asked on the mesh (`mesh_api`). Streams of events are fed by `events` and fanned out by `stream`. Whatever fails on the way is a problem, and `problem` is the one place that turns it into a response.

mod access;
mod address;
mod admission;
mod app;
mod backlog;
mod body;
mod call;
mod call_id;
mod classes;
mod cluster;
mod config;
mod connection;
mod cors;
mod cursor;
mod dead;
mod deploy;
mod dispatch;
mod etag;
mod events;
mod fields;
mod follow;
mod forms;
mod grpc;
mod health;
mod invocation_id;
mod invocations;
mod invoke;
mod keys;
mod listing;
mod logs;
mod media;
mod merge;
mod mesh_api;
mod metrics;
mod multipart;
mod needs;
mod nodes;
mod objects;
mod openapi;
mod origins;
mod pace;
mod problem;
mod promote;
mod query;
mod reply;
mod rollback;
mod route;
mod router;
mod scrape;
mod served;
mod server;
mod settings;
mod stream;
mod taking;
#[cfg(test)]
mod testing;
mod tls;
mod traced;
mod upload;
mod watched;
mod wish;

pub use access::{Access, JwtConfig, JwtError, KeySource, KeySourceError, new_token};
pub use config::{GatewayConfig, Sources};
pub use origins::{OriginError, Origins};
pub use server::{Gateway, GatewayError};
pub use tls::{TlsError, TlsFiles};
