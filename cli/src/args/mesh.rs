//! Flags about who is let into the mesh.

use std::path::PathBuf;

use clap::Args;

use super::Secret;

/// Who is let into the mesh.
#[derive(Debug, Default, Args)]
pub(crate) struct MeshSecretArgs {
    /// The secret that whoever links with this process on the mesh must have, the same in all of them; better in the
    /// environment or in a file than here, where other users of this machine can see it
    #[arg(
        long,
        env = "OPRC_MESH_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub(crate) mesh_secret: Option<Secret>,
    /// A file with the secret, which only its owner may read; goes before the secret itself
    #[arg(long, env = "OPRC_MESH_SECRET_FILE", value_name = "FILE")]
    pub(crate) mesh_secret_file: Option<PathBuf>,
    /// Let whoever comes into the mesh, without a secret, on an address that is not of this machine alone, or beside --auth
    #[arg(long, env = "OPRC_ALLOW_ANONYMOUS_MESH")]
    pub(crate) allow_anonymous_mesh: bool,
}
