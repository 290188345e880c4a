//! `lxc config check`: everything that is wrong with a configuration, in one go.

use std::path::Path;

use lxc_config::Diagnostic;
use lxc_core::Error;
use lxc_core::lifecycle::configure::{Checked, check};
use serde_json::{Value, json};

use super::{container, place, rest, wants_json};
use crate::context::{Context, refuse};

pub fn run(context: &Context) -> anyhow::Result<i32> {
    let json = wants_json(context)?;
    let checked = match (context.get("name"), rest(context)) {
        (Some(_), []) => {
            let container = container(context)?;
            check(&container.config_path(), container.name(), container.lxcpath())?
        }
        (None, [file]) => check(Path::new(file), "container", &context.lxcpath)?,
        _ => return Err(refuse("check takes -n NAME or one FILE")),
    };
    if json {
        println!("{:#}", as_json(&checked));
    } else if !context.quiet {
        print(&checked);
    }
    let warned = !checked.advice.is_empty() || !checked.diagnostics.is_empty();
    Ok(i32::from(!checked.is_valid() || context.has("strict") && warned))
}

fn print(checked: &Checked) {
    for diagnostic in &checked.diagnostics {
        eprintln!("{}\n", diagnostic.render());
    }
    if let Some(error) = &checked.refused {
        eprintln!("error: {error}");
        if let Some(hint) = error.hint() {
            eprintln!("  hint: {hint}");
        }
        eprintln!();
    }
    for (advice, origin) in &checked.advice {
        eprintln!("warning: {}: {}", advice.key, advice.text);
        if let Some(origin) = origin {
            eprintln!("  --> {}", place(origin));
        }
        eprintln!();
    }
    let errors = checked.diagnostics.iter().filter(|d| !d.is_warning()).count()
        + usize::from(checked.refused.is_some());
    let warnings = checked.diagnostics.iter().filter(|d| d.is_warning()).count() + checked.advice.len();
    for file in checked.files.iter().skip(1) {
        println!("included: {}", file.display());
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    println!(
        "{}: {}, {}",
        checked.files.first().map(|f| f.display().to_string()).unwrap_or_default(),
        count(errors, "error"),
        count(warnings, "warning")
    );
}

fn as_json(checked: &Checked) -> Value {
    let mut problems: Vec<Value> = checked.diagnostics.iter().map(line).collect();
    problems.extend(checked.refused.as_ref().map(refused));
    problems.extend(checked.advice.iter().map(|(advice, origin)| {
        json!({
            "severity": "warning",
            "key": advice.key,
            "message": advice.text,
            "file": origin.as_ref().map(|(file, _)| file.display().to_string()),
            "line": origin.as_ref().map(|(_, line)| line),
        })
    }));
    let files: Vec<String> = checked.files.iter().map(|f| f.display().to_string()).collect();
    json!({ "valid": checked.is_valid(), "files": files, "problems": problems })
}

fn line(diagnostic: &Diagnostic) -> Value {
    let location = diagnostic.location.as_ref();
    let from: Vec<String> =
        diagnostic.included_from.iter().map(|f| format!("{}:{}", f.file.display(), f.line)).collect();
    json!({
        "severity": if diagnostic.is_warning() { "warning" } else { "error" },
        "message": diagnostic.problem.to_string(),
        "file": location.map(|l| l.file.display().to_string()),
        "line": location.map(|l| l.line),
        "column": location.map(|l| l.column),
        "text": diagnostic.text,
        "included_from": from,
    })
}

fn refused(error: &Error) -> Value {
    json!({ "severity": "error", "message": error.to_string(), "hint": error.hint() })
}
