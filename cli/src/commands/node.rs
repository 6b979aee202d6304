//! `oprc node`: drains a host, takes it back, or removes it for good.

use reqwest::Method;

use crate::args::{Format, NodeArgs, NodeWish};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: NodeArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let (wish, done) = match args.wish {
        NodeWish::Drain => {
            ("drain", "its partitions move to other hosts; `oprc status` shows when it holds none")
        }
        NodeWish::Undrain => ("undrain", "it takes its share again"),
        NodeWish::Remove => ("remove", "it is gone for good; its data directory will not be let in again"),
    };
    let answer = client.send(client.request(Method::POST, &["cluster", "nodes", &args.node, wish])).await?;
    match args.client.output {
        Format::Table => output::line(&format!("{}: {done}", args.node)),
        Format::Json => output::json_text(&answer.body),
    }
}
