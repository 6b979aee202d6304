//! `oprc new`: a guest project in a folder of its own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;

use crate::args::{Format, Language, NewArgs};
use crate::failure::Failure;
use crate::output;
use crate::project::{self, ProjectFile, ProjectName};

pub(crate) fn run(args: &NewArgs) -> Result<(), Failure> {
    let NewArgs { name, lang, output } = args;
    let files = match lang {
        Language::Rust => project::rust(name),
    };
    let folder = Path::new(name.as_str());
    let failed = |what: &Path, source| Failure::Create { what: what.display().to_string(), source };
    // never into a folder that is there: whatever lies in it is not ours to change
    fs::create_dir(folder).map_err(|source| failed(folder, source))?;
    for ProjectFile { path, text } in &files {
        let path = folder.join(path);
        if let Err(source) = write(&path, text) {
            // a half of a project is none; the folder is ours, and the failure to tell is the first one
            let _ = fs::remove_dir_all(folder);
            return Err(failed(&path, source));
        }
    }
    match output {
        Format::Table => output::line(&told(name)),
        Format::Json => {
            let files: Vec<_> = files.iter().map(|file| file.path).collect();
            output::json(&json!({ "name": name.as_str(), "class": name.class(), "files": files }))
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(text.as_bytes())
}

fn told(name: &ProjectName) -> String {
    let class = name.class();
    format!(
        "created {name}/ with the class {class}; next:\n\n  cd {name}\n  cargo test\n  \
         cargo build --target wasm32-wasip2 --release\n  oprc deploy\n  \
         oprc invoke {class}/alice increment '{{\"by\": 5}}'"
    )
}
