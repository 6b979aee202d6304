//! A Zenoh client that is no part of oprc, as other people's programs on the mesh are.

use bytes::Bytes;
use tokio::sync::mpsc;
use zenoh::Session;
use zenoh::sample::Sample;

use crate::config::MeshError;
use crate::frame::{self, Origin};
use crate::id::NodeId;

/// How a stranger links.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The cluster whose keys it asks about; empty for the unnamed one.
    pub cluster: String,
    /// The name and the password that it shows.
    pub shown: Option<(String, String)>,
    /// A client, which has one link; otherwise a peer.
    pub client: bool,
}

/// See the module. Listens on one key expression, or on none.
pub struct Stranger {
    session: Session,
    heard: mpsc::UnboundedReceiver<(String, Bytes)>,
    hears: mpsc::UnboundedSender<(String, Bytes)>,
}

/// What a stranger asks with.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// What comes along; none when there is nothing to be said of it.
    pub payload: Vec<u8>,
    /// What the payload is said to be; empty for nothing.
    pub encoding: String,
    /// What is said about the question; empty for nothing.
    pub attachment: Vec<u8>,
}

/// What a stranger is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// It is an answer, not a refusal.
    pub ok: bool,
    /// What was told.
    pub payload: Bytes,
    /// What that is.
    pub encoding: String,
    /// What was said about it.
    pub attachment: Bytes,
}

impl Stranger {
    /// Connects to `endpoint` and listens on `key`.
    ///
    /// # Errors
    /// [`MeshError`], as a host's.
    pub async fn listen(endpoint: &str, key: &str) -> Result<Self, MeshError> {
        let stranger = Self::link(endpoint, &Manner::default()).await?;
        stranger.hear(key).await?;
        Ok(stranger)
    }

    /// Connects to `endpoint`. A peer goes on trying; a client that gets no link fails.
    ///
    /// # Errors
    /// [`MeshError`], as a host's.
    pub async fn link(endpoint: &str, manner: &Manner) -> Result<Self, MeshError> {
        let session = zenoh::open(settings(endpoint, manner)?).await.map_err(|source| MeshError::Open {
            listen: String::new(),
            connect: endpoint.to_owned(),
            source,
        })?;
        let (sender, heard) = mpsc::unbounded_channel();
        Ok(Self { session, heard, hears: sender })
    }

    /// Listens on `key` from now on.
    ///
    /// # Errors
    /// [`MeshError::Declare`].
    pub async fn hear(&self, key: &str) -> Result<(), MeshError> {
        let sender = self.hears.clone();
        let hear = move |sample: Sample| {
            let payload = Bytes::copy_from_slice(&sample.payload().to_bytes());
            let _ = sender.send((sample.key_expr().as_str().to_owned(), payload)); // nobody may care any more
        };
        let declared = self.session.declare_subscriber(key.to_owned()).callback(hear).background().await;
        declared.map_err(|source| MeshError::Declare { key: key.to_owned(), source })
    }

    /// The next publication: its key and its payload. None once the session is closed.
    pub async fn next(&mut self) -> Option<(String, Bytes)> {
        self.heard.recv().await
    }

    /// A publication that came already.
    pub fn heard(&mut self) -> Option<(String, Bytes)> {
        self.heard.try_recv().ok()
    }

    /// Asks about `key` and gives all that is told.
    ///
    /// # Errors
    /// [`MeshError::Declare`] for what is no key expression.
    pub async fn ask(&self, key: &str, query: Query) -> Result<Vec<Heard>, MeshError> {
        let failed = |source| MeshError::Declare { key: key.to_owned(), source };
        let mut get = self.session.get(key).timeout(std::time::Duration::from_secs(150));
        if !query.payload.is_empty() || !query.encoding.is_empty() {
            get = get.payload(query.payload).encoding(query.encoding);
        }
        if !query.attachment.is_empty() {
            get = get.attachment(query.attachment);
        }
        let replies = get.await.map_err(failed)?;
        let mut heard = Vec::new();
        while let Ok(reply) = replies.recv_async().await {
            heard.push(match reply.result() {
                Ok(sample) => Heard {
                    ok: true,
                    payload: sample.payload().to_bytes().into_owned().into(),
                    encoding: sample.encoding().to_string(),
                    attachment: sample
                        .attachment()
                        .map(|bytes| bytes.to_bytes().into_owned().into())
                        .unwrap_or_default(),
                },
                Err(error) => Heard {
                    ok: false,
                    payload: error.payload().to_bytes().into_owned().into(),
                    encoding: error.encoding().to_string(),
                    attachment: Bytes::new(),
                },
            });
        }
        Ok(heard)
    }

    /// Publishes.
    ///
    /// # Errors
    /// [`MeshError::Declare`] for what is no key, or when there is no session any more.
    pub async fn put(&self, key: &str, payload: Vec<u8>) -> Result<(), MeshError> {
        let put = self.session.put(key, payload).congestion_control(zenoh::qos::CongestionControl::Block);
        put.await.map_err(|source| MeshError::Declare { key: key.to_owned(), source })
    }

    /// Publishes messages as a host with the id `from` sends them.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_frame(&self, from: u64, key: &str, messages: Vec<Bytes>) -> Result<(), MeshError> {
        let origin = Origin { from: NodeId(from), via: None };
        self.put(key, frame::pack(origin, key, messages)).await
    }

    /// How many it is linked with.
    pub async fn links(&self) -> usize {
        let info = self.session.info();
        info.peers_zid().await.count() + info.routers_zid().await.count()
    }

    /// Leaves the mesh.
    pub async fn leave(self) {
        // a session that is broken is left as well
        let _ = self.session.close().await;
    }
}

fn settings(endpoint: &str, manner: &Manner) -> Result<zenoh::Config, MeshError> {
    let mut config = zenoh::Config::default();
    let mode = if manner.client { "client" } else { "peer" };
    let mut wanted = vec![
        ("mode", format!("{mode:?}")),
        ("connect/endpoints", format!("[{endpoint:?}]")),
        ("listen/endpoints", "[]".to_owned()),
        ("scouting/multicast/enabled", "false".to_owned()),
    ];
    if !manner.cluster.is_empty() {
        wanted.push(("namespace", format!("{:?}", manner.cluster)));
    }
    if let Some((user, password)) = &manner.shown {
        wanted.push(("transport/auth/usrpwd", format!("{{ user: {user:?}, password: {password:?} }}")));
    }
    for (setting, value) in wanted {
        let set = config.insert_json5(setting, &value);
        set.map_err(|source| MeshError::Setting { key: setting.into(), source })?;
    }
    Ok(config)
}
