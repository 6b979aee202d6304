//! `oprc deploy`: a component, with its manifest if there is one, becomes a class.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use oprc_mesh::id::ClassName;
use oprc_mesh::limits::COMPONENT_BYTES_MAX;
use oprc_mesh::manifest::Manifest;
use oprc_mesh::outcome::{Code, Problem};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::args::{DeployArgs, Format};
use crate::client::{Answer, Client, Upload};
use crate::commands::classes::Methods;
use crate::commands::input;
use crate::failure::Failure;
use crate::output;

/// The manifest that is used without being named.
const MANIFEST: &str = "oprc.toml";

/// What is to be deployed.
#[derive(Debug)]
struct Plan {
    class: ClassName,
    component: PathBuf,
    manifest: Option<String>,
}

/// The server's answer.
#[derive(Debug, Deserialize)]
struct Deployed {
    version: u64,
    /// It is the class's canary, for so many percent of the objects.
    canary: Option<u32>,
    #[serde(flatten)]
    methods: Methods,
}

pub(crate) async fn run(args: DeployArgs) -> Result<(), Failure> {
    let manifest_path = args.manifest.or_else(|| Path::new(MANIFEST).is_file().then(|| MANIFEST.into()));
    let manifest = manifest_path.as_deref().map(read_manifest).transpose()?;
    let plan = plan(args.file, args.class, manifest_path.as_deref().zip(manifest))?;
    let component = input::file(&plan.component)?;
    check_size(&component)?;
    let client = Client::new(&args.client)?;
    let manner = Manner { force: args.force, canary: args.canary };
    let answer = deploy(&client, &plan.class, component, plan.manifest, manner).await?;
    if args.client.output == Format::Json {
        return output::json_text(&answer.body);
    }
    let deployed: Deployed = client.understand(&answer.body)?;
    let unchanged = if answer.status == StatusCode::OK { ", unchanged" } else { "" };
    let canary = deployed.canary.map(|share| format!(" as a canary for {share}% of its objects"));
    let with = manifest_path.map(|path| format!(" with {}", path.display())).unwrap_or_default();
    output::line(&format!(
        "deployed {} version {}{}{unchanged} from {}{with}\n\n{}",
        plan.class,
        deployed.version,
        canary.unwrap_or_default(),
        plan.component.display(),
        deployed.methods.table()
    ))
}

/// How a deployment is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Whatever breaks.
    pub(crate) force: bool,
    /// As a canary, for so many percent of the objects.
    pub(crate) canary: Option<u32>,
}

/// Uploads a component. The bar on the terminal reaches its end when the last byte is sent; then the server compiles.
pub(crate) async fn deploy(
    client: &Client,
    class: &ClassName,
    component: Bytes,
    manifest: Option<String>,
    manner: Manner,
) -> Result<Answer, Failure> {
    let progress = output::byte_progress(&format!("uploading {class}"));
    let upload = Upload::new(component, manifest, progress.clone());
    let share = manner.canary.map(|share| share.to_string());
    let force = manner.force.then_some(("force", "true"));
    let query: Vec<_> = force.into_iter().chain(share.as_deref().map(|share| ("canary", share))).collect();
    let answer = client.upload(&["classes", class.as_str()], &query, upload).await;
    progress.finish_and_clear();
    answer
}

fn read_manifest(path: &Path) -> Result<(String, Manifest), Failure> {
    let bytes = input::file(path)?;
    let invalid = |problem: Problem| {
        let problem =
            Problem { subject: path.display().to_string(), operation: "read".to_owned(), ..problem };
        Failure::Problem(Box::new(problem.into()))
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        invalid(Problem::new(Code::Invalid, format!("the manifest is not text: {error}")))
    })?;
    let manifest = Manifest::parse(text).map_err(invalid)?;
    Ok((text.to_owned(), manifest))
}

/// Settles the class's name and the component's place from flags and manifest.
fn plan(
    file: Option<PathBuf>,
    class: Option<ClassName>,
    manifest: Option<(&Path, (String, Manifest))>,
) -> Result<Plan, Failure> {
    let (text, name, named) = match manifest {
        Some((path, (text, manifest))) => {
            let beside = path.parent().unwrap_or(Path::new(""));
            (Some(text), manifest.name, manifest.component.map(|component| beside.join(component)))
        }
        None => (None, None, None),
    };
    let Some(component) = file.or(named) else {
        return Err(Failure::Usage(
            "name a component: oprc deploy FILE.wasm (or `component` in oprc.toml)".into(),
        ));
    };
    let class = match class.or(name) {
        Some(class) => class,
        None => class_of_stem(&component)?,
    };
    Ok(Plan { class, component, manifest: text })
}

fn class_of_stem(component: &Path) -> Result<ClassName, Failure> {
    let stem = component.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    ClassName::parse(stem)
        .map_err(|error| Failure::Usage(format!("{error}; the file's name gives no class name: use --class")))
}

/// A component that no server takes is not sent: it would be cut off half way.
fn check_size(component: &Bytes) -> Result<(), Failure> {
    if component.len() <= COMPONENT_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("the component has {} bytes; {COMPONENT_BYTES_MAX} are allowed", component.len());
    let problem = Problem::new(Code::PayloadTooLarge, detail).on("deploy", "component");
    Err(Failure::Problem(Box::new(problem.into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn planned(file: Option<&str>, class: Option<&str>, manifest: Option<&str>) -> Result<Plan, Failure> {
        let class = class.map(|class| ClassName::parse(class).unwrap());
        let manifest = manifest.map(|text| (text.to_owned(), Manifest::parse(text).unwrap()));
        plan(file.map(Into::into), class, manifest.map(|manifest| (Path::new("guest/oprc.toml"), manifest)))
    }

    #[test]
    fn the_name_is_the_flags_else_the_manifests_else_the_files() {
        let manifest = Some("[class]\nname = \"FromManifest\"\ncomponent = \"target/c.wasm\"");
        let name = |file, class, manifest| planned(file, class, manifest).unwrap().class.to_string();
        assert_eq!(name(Some("a/counter.wasm"), Some("FromFlag"), manifest), "FromFlag");
        assert_eq!(name(Some("a/counter.wasm"), None, manifest), "FromManifest");
        assert_eq!(name(Some("a/counter.wasm"), None, None), "counter");
        assert_eq!(name(Some("a/counter.wasm"), None, Some("")), "counter");
    }

    #[test]
    fn the_component_is_the_one_named_else_the_manifests() {
        let manifest = Some("[class]\nname = \"C\"\ncomponent = \"target/c.wasm\"");
        let component = |file| planned(file, None, manifest).unwrap().component;
        assert_eq!(component(Some("other.wasm")), Path::new("other.wasm"));
        assert_eq!(component(None), Path::new("guest/target/c.wasm"), "relative to the manifest");
        assert!(matches!(planned(None, None, Some("[class]\nname = \"C\"")), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_file_whose_stem_is_no_class_name_needs_the_flag() {
        assert!(
            matches!(planned(Some("1.wasm"), None, None), Err(Failure::Usage(why)) if why.contains("--class"))
        );
    }
}
