//! Compiled code on disk, so that a component is compiled once per host and engine version.
//!
//! A file is the SHA-256 of the code and then the code, named by the engine's compatibility hash and the component's
//! digest. The code is machine code that the process will run, so the folder and its files belong to this user alone,
//! a file appears whole or not at all, and one whose checksum is wrong is thrown away and made anew.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oprc_mesh::id::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::error::RuntimeError;
use super::failure;

const CHECKSUM_BYTES: usize = 32;

/// The folder.
pub(super) struct AotCache {
    dir: PathBuf,
    compatibility: String,
}

impl AotCache {
    /// Opens the folder, and removes code of other engine versions and what a crash left half written.
    pub(super) fn open(dir: &Path, engine: &Engine) -> Result<Self, RuntimeError> {
        let failed =
            |source| RuntimeError::Io { operation: "make the private folder", path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = Self { dir: dir.to_owned(), compatibility: format!("{:016x}", hasher.finish()) };
        for entry in fs::read_dir(dir).map_err(failed)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with(&cache.compatibility) || !name.ends_with(".code") {
                drop(fs::remove_file(entry.path()));
            }
        }
        Ok(cache)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}-{digest}.code", self.compatibility))
    }

    /// The code for `digest`, if it is there and sound.
    pub(super) fn get(&self, digest: &Digest, engine: &Engine) -> Option<Component> {
        let path = self.path(digest);
        let file = fs::read(&path).ok()?;
        let sound =
            file.split_at_checked(CHECKSUM_BYTES).filter(|(sum, code)| Digest::of(code).as_bytes() == sum);
        let loaded = sound.map(|(_, code)| Self::load(code, engine));
        if let Some(Ok(component)) = loaded {
            return Some(component);
        }
        let why = loaded
            .and_then(Result::err)
            .map_or_else(|| "wrong checksum".into(), |error| failure::chain(&error));
        tracing::warn!(%digest, why, "compiled code is not usable; compiling again");
        drop(fs::remove_file(&path));
        None
    }

    /// Keeps `code` for `digest`. A failure only costs a compilation later.
    pub(super) fn put(&self, digest: &Digest, code: &[u8]) {
        if let Err(error) = self.write(digest, code) {
            tracing::warn!(%digest, %error, "compiled code could not be kept");
        }
    }

    /// Forgets a component's code; what cannot be removed is only a cache entry that stays.
    pub(super) fn remove(&self, digest: &Digest) {
        let _ = std::fs::remove_file(self.path(digest));
    }

    fn write(&self, digest: &Digest, code: &[u8]) -> std::io::Result<()> {
        let path = self.path(digest);
        let temporary = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(Digest::of(code).as_bytes())?;
        file.write_all(code)?;
        // No fsync: after a crash a file that is not whole fails its checksum and is made anew.
        fs::rename(&temporary, &path)
    }

    /// Makes compiled code runnable.
    #[allow(
        unsafe_code,
        reason = "running compiled code trusts that this engine made it: it comes from `precompile_component` in this \
                  process, or from a private file that this program wrote, for the same engine, checked by digest"
    )]
    pub(super) fn load(code: &[u8], engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: see the reason above; the engine itself refuses code of another version or configuration.
        unsafe { Component::deserialize(engine, code) }
    }
}
