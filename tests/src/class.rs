//! Classes and objects by their paths.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use oprc_mesh::canary::Served;
use oprc_mesh::catalog;
use serde_json::{Value, json};

use crate::{Call, Http, Ingress, Reply, eventually};

/// A name that no other test uses: `stem`, then a number.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A deployed class.
#[derive(Clone)]
pub struct Class {
    /// The client through which it is used.
    pub http: Http,
    /// Its name.
    pub name: String,
}

impl Class {
    /// Deploys `component` under a name of its own beginning with `stem`. `limits` and the rest of `manifest` is TOML
    /// below the line `name = ...` of the table `[class]`; it may be empty.
    pub async fn deploy(at: &impl Ingress, stem: &str, component: Bytes, manifest: &str) -> Self {
        let class = Self { http: at.http(), name: unique(stem) };
        let is_repeated = AtomicBool::new(false);
        eventually("a class is deployed", || async {
            let reply = class.redeploy(component.clone(), manifest).await;
            // nobody repeats a deployment by itself: the catalog's leader may have gone before it answered
            if reply.status >= 500 && reply.json()["outcome"] == "unknown" {
                is_repeated.store(true, Ordering::Relaxed);
                return None;
            }
            let was_taken = reply.status == 200 && is_repeated.load(Ordering::Relaxed);
            assert!(reply.status == 201 || was_taken, "{reply:?}");
            Some(())
        })
        .await;
        class
    }

    /// Waits until the gateway knows it: one that has not heard of a class says that there is none.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn known(&self) {
        eventually("the gateway knows the class", || async {
            let reply = self.http.get(self.path()).try_send().await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    /// Deploys again whatever breaks (tests change components as they like), and gives the answer.
    #[must_use]
    pub async fn redeploy(&self, component: Bytes, manifest: &str) -> Reply {
        self.put(&format!("{}?force=true", self.path()), component, Some(&self.manifest(manifest)))
            .send()
            .await
    }

    /// Deploys again, unless callers would break, and gives the answer.
    #[must_use]
    pub async fn redeploy_carefully(&self, component: Bytes, manifest: &str) -> Reply {
        self.upload(component, Some(&self.manifest(manifest))).send().await
    }

    /// Brings back version `to`, or the one before, and gives the answer.
    #[must_use]
    pub async fn roll_back(&self, to: Option<u64>) -> Reply {
        self.http.post(format!("{}/rollback", self.path())).json(&json!({ "to": to })).send().await
    }

    /// Deploys a canary for `share` percent of the objects whatever breaks, and gives the answer.
    #[must_use]
    pub async fn canary(&self, component: Bytes, manifest: &str, share: u32) -> Reply {
        let path = format!("{}?canary={share}&force=true", self.path());
        self.put(&path, component, Some(&self.manifest(manifest))).send().await
    }

    /// The same, unless callers would break.
    #[must_use]
    pub async fn canary_carefully(&self, component: Bytes, manifest: &str, share: u32) -> Reply {
        let path = format!("{}?canary={share}", self.path());
        self.put(&path, component, Some(&self.manifest(manifest))).send().await
    }

    /// Makes the canary the class, and gives the answer.
    #[must_use]
    pub async fn promote(&self) -> Reply {
        self.http.post(format!("{}/promote", self.path())).send().await
    }

    /// Whether a canary of `share` percent serves the object.
    ///
    /// # Panics
    /// When that is no id.
    pub fn is_canary(&self, id: &str, share: u32) -> bool {
        let stable = catalog::Class { name: self.name.clone(), ..catalog::Class::default() };
        let canary = catalog::Canary { share, class: catalog::Class { version: 1, ..stable.clone() } };
        let class = catalog::Class { canary: Some(Box::new(canary)), ..stable };
        class.serving(Served::Object(&id.parse().expect("an id"))).version == 1
    }

    fn manifest(&self, rest: &str) -> String {
        format!("[class]\nname = \"{}\"\n{rest}\n", self.name)
    }

    /// A deployment with the manifest as given, or a plain body without one.
    pub fn upload(&self, component: Bytes, manifest: Option<&str>) -> Call {
        self.put(&self.path(), component, manifest)
    }

    fn put(&self, path: &str, component: Bytes, manifest: Option<&str>) -> Call {
        let call = self.http.put(path);
        match manifest {
            None => call.body("application/wasm", component),
            Some(manifest) => {
                multipart(call, &[("component", &component), ("manifest", manifest.as_bytes())])
            }
        }
    }

    /// The class's path.
    pub fn path(&self) -> String {
        format!("/api/v1/classes/{}", self.name)
    }

    /// An object of it.
    pub fn object(&self, id: impl Into<String>) -> Object {
        Object { class: self.clone(), id: id.into() }
    }

    /// Calls a function.
    pub fn function(&self, function: &str) -> Call {
        self.http.post(format!("{}/functions/{function}", self.path()))
    }

    /// The same class seen through another client.
    #[must_use]
    pub fn through(&self, http: &Http) -> Self {
        Self { http: http.clone(), name: self.name.clone() }
    }
}

/// Makes `call` carry `parts` as `multipart/form-data`.
pub fn multipart(call: Call, parts: &[(&str, &[u8])]) -> Call {
    let boundary = "oprc-test-7MA4YWxkTrZu0gW";
    let mut body = Vec::new();
    for (name, content) in parts {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    call.body(&format!("multipart/form-data; boundary={boundary}"), body)
}

/// An object, which may not exist.
#[derive(Clone)]
pub struct Object {
    /// Its class.
    pub class: Class,
    /// Its id, as it stands in paths.
    pub id: String,
}

impl Object {
    /// The object's path.
    pub fn path(&self) -> String {
        format!("{}/objects/{}", self.class.path(), self.id)
    }

    /// A call of `method`, without arguments so far.
    pub fn method(&self, method: &str) -> Call {
        self.class.http.post(format!("{}/invoke/{method}", self.path()))
    }

    /// Calls `method` with JSON arguments.
    #[must_use]
    pub async fn invoke(&self, method: &str, arguments: Value) -> Reply {
        self.method(method).json(&arguments).send().await
    }

    /// GET of the whole object.
    #[must_use]
    pub async fn get(&self) -> Reply {
        self.class.http.get(self.path()).send().await
    }

    /// The fields of an object that must be there.
    ///
    /// # Panics
    /// When it is not.
    pub async fn fields(&self) -> Value {
        self.get().await.expect(200).json()["fields"].take()
    }

    /// The version of an object that must be there.
    ///
    /// # Panics
    /// When it is not.
    pub async fn version(&self) -> u64 {
        self.get().await.expect(200).json()["version"].as_u64().expect("a version is a number")
    }

    /// PUT of the whole object.
    pub fn put(&self, fields: &Value) -> Call {
        self.class.http.put(self.path()).json(&json!({ "fields": fields }))
    }

    /// PATCH of the object.
    pub fn patch(&self, fields: &Value) -> Call {
        self.class.http.patch(self.path()).json(&json!({ "fields": fields }))
    }

    /// DELETE of the whole object.
    pub fn delete(&self) -> Call {
        self.class.http.delete(self.path())
    }

    /// Any request for one field; `key` is encoded.
    pub fn field(&self, method: &str, key: &str) -> Call {
        self.class.http.call(method, format!("{}/fields/{}", self.path(), encode(key)))
    }
}

/// Percent-encodes all but letters, digits, `-` and `_`: dots too, since clients take `.` and `..` for directions.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
