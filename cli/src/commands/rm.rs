//! `oprc rm`: removes a class, an object, or one field.

use reqwest::Method;

use crate::args::{Format, RmArgs};
use crate::client::Client;
use crate::commands::get::field_path;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: RmArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let class = args.address.class.as_str();
    let request = match (&args.address.object, &args.field) {
        (None, Some(_)) => {
            return Err(Failure::Usage(format!("{class} is a class; a field belongs to CLASS/ID")));
        }
        (Some(_), _) if args.purge => return Err(Failure::Usage("--purge goes with a class".into())),
        (None, None) => {
            let purge = if args.purge { "true" } else { "false" };
            client.request(Method::DELETE, &["classes", class]).query(&[("purge", purge)])
        }
        (Some(object), None) => {
            client.request(Method::DELETE, &["classes", class, "objects", object.as_str()])
        }
        (Some(object), Some(field)) => {
            let object = ["classes", class, "objects", object.as_str()];
            client.request(Method::DELETE, &field_path(&object, field)?)
        }
    };
    let answer = client.send(request).await?;
    match args.client.output {
        Format::Table => output::line(&told(&args)),
        Format::Json => output::json_text(&answer.body),
    }
}

/// What is gone now, and what is not.
fn told(args: &RmArgs) -> String {
    match (&args.address.object, &args.field) {
        (Some(_), Some(field)) => format!("removed the field {field} of {}", args.address),
        (Some(_), None) => format!("removed {}", args.address),
        (None, _) if args.purge => format!("removed {} with all its objects", args.address),
        (None, _) => {
            format!("removed {}; its objects stay, and come back when it is deployed again", args.address)
        }
    }
}
