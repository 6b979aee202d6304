//! `oprc ls`: the objects of a class.

use oprc_mesh::limits::PAGE_ITEMS_MAX;
use serde::Deserialize;

use crate::args::{Format, LsArgs};
use crate::client::Client;
use crate::commands::classes::Page;
use crate::failure::Failure;
use crate::output;

/// An object in a listing.
#[derive(Debug, Deserialize)]
struct Object {
    id: String,
    version: u64,
}

pub(crate) async fn run(args: LsArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let page = collect(&client, &args).await?;
    if args.client.output == Format::Json {
        return output::json(&page);
    }
    let mut rows = Vec::new();
    for item in &page.items {
        let Object { id, version } = client.understand(item.get().as_bytes())?;
        rows.push([id, version.to_string()]);
    }
    output::line(&output::table(["id", "version"], rows))?;
    if let Some(next) = &page.next {
        eprintln!("more follow: raise --limit, or go on with --cursor {next}");
    }
    Ok(())
}

/// Asks page after page until the limit is reached.
async fn collect(client: &Client, args: &LsArgs) -> Result<Page, Failure> {
    let path = ["classes", args.class.as_str(), "objects"];
    let limit = args.limit as usize;
    let mut all = Page { items: Vec::new(), next: args.cursor.clone() };
    loop {
        let wanted = (limit - all.items.len()).min(PAGE_ITEMS_MAX).to_string();
        let mut query = vec![("limit", wanted.as_str())];
        query.extend(args.prefix.as_deref().map(|prefix| ("prefix", prefix)));
        query.extend(all.next.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Page = client.understand(&client.get(&path, &query).await?.body)?;
        all.items.extend(page.items);
        all.next = page.next;
        if all.next.is_none() || all.items.len() >= limit {
            return Ok(all);
        }
    }
}
