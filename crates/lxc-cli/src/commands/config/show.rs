//! `lxc config show`: the file, or what it comes to.

use std::collections::BTreeMap;
use std::io::Write;

use lxc_config::Effective;
use serde_json::{Value, json};

use super::{container, rest, wants_json};
use crate::context::{Context, refuse};

pub fn run(context: &Context) -> anyhow::Result<i32> {
    if !rest(context).is_empty() {
        return Err(refuse("show takes no words"));
    }
    let json = wants_json(context)?;
    let mut container = container(context)?;
    container.load_config(None)?;
    let config = &container.config;
    if json {
        let files: Vec<String> = config.files().iter().map(|f| f.display().to_string()).collect();
        let value = json!({ "name": container.name(), "files": files, "config": keys(&config.effective()) });
        println!("{value:#}");
    } else if context.has("resolved") {
        config.effective().iter().for_each(|e| println!("{}", e.line()));
    } else {
        std::io::stdout().write_all(&config.text())?;
    }
    Ok(0)
}

/// An object of keys: with a text, or with a list of texts where a key takes several.
fn keys(effective: &[Effective]) -> Value {
    let mut all: BTreeMap<&str, Value> = BTreeMap::new();
    for one in effective {
        match all.get_mut(one.key.as_str()) {
            Some(Value::Array(list)) => list.push(json!(one.value)),
            _ if one.is_list => drop(all.insert(&one.key, json!([one.value]))),
            _ => drop(all.insert(&one.key, json!(one.value))),
        }
    }
    json!(all)
}
