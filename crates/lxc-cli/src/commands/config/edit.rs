//! `lxc config get`, `set`, `unset` and `edit`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use anyhow::bail;
use lxc_config::Diagnostic;
use lxc_core::error::Doing;
use lxc_core::lifecycle::configure;
use lxc_core::{files, lock};

use super::{container, rest};
use crate::context::{Context, refuse};

pub fn get(context: &Context) -> anyhow::Result<i32> {
    let [key] = rest(context) else { return Err(refuse("get takes -n NAME and a KEY")) };
    let mut container = container(context)?;
    container.load_config(None)?;
    // What is misspelt is said either way.
    let mut value = container.get(key).map_err(|_| unknown(key))?;
    if context.has("running") {
        container.require_running()?;
        value = container.running_item(key)?.unwrap_or_default();
    }
    let end = if value.is_empty() || value.ends_with('\n') { "" } else { "\n" };
    print!("{value}{end}");
    Ok(0)
}

fn unknown(key: &str) -> anyhow::Error {
    let mut config = lxc_config::Config::new();
    match config.clear(key) {
        Err(e) => anyhow::anyhow!("{e}"),
        Ok(()) => anyhow::anyhow!("{key}: nothing to show: there is no such network, or the key is no value"),
    }
}

pub fn set(context: &Context) -> anyhow::Result<i32> {
    let [key, value] = rest(context) else { return Err(refuse("set takes -n NAME, a KEY and a VALUE")) };
    container(context)?.change_config(|c| c.set(key, value))?;
    Ok(0)
}

pub fn unset(context: &Context) -> anyhow::Result<i32> {
    let [key] = rest(context) else { return Err(refuse("unset takes -n NAME and a KEY")) };
    container(context)?.change_config(|c| c.clear(key))?;
    Ok(0)
}

pub fn edit(context: &Context) -> anyhow::Result<i32> {
    if !rest(context).is_empty() {
        return Err(refuse("edit takes no words"));
    }
    let container = container(context)?;
    let path = container.config_path();
    let before = std::fs::read(&path).doing(|| format!("read {}", path.display()))?;
    // Beside the file, so that what it includes by a relative path, and its file system, are the same.
    let draft = tempfile::Builder::new()
        .prefix(".config.edit.")
        .tempfile_in(container.directory())
        .doing(|| format!("make a file in {}", container.directory().display()))?;
    std::fs::write(draft.path(), &before)?;
    loop {
        run_editor(draft.path())?;
        let after = std::fs::read(draft.path()).doing(|| format!("read {}", draft.path().display()))?;
        if after == before {
            println!("{}: not changed", path.display());
            return Ok(0);
        }
        let mut checked = configure::check(draft.path(), container.name(), container.lxcpath())?;
        for location in checked.diagnostics.iter_mut().filter_map(|d| d.location.as_mut()) {
            if location.file == draft.path() {
                location.file.clone_from(&path);
            }
        }
        let errors: Vec<&Diagnostic> = checked.diagnostics.iter().filter(|d| !d.is_warning()).collect();
        if errors.is_empty() {
            let _lock = lock::lock_container(container.lxcpath(), container.name())?;
            if std::fs::read(&path).ok().as_ref() != Some(&before) {
                bail!("{} was changed by somebody else meanwhile: nothing was written", path.display());
            }
            files::replace(&path, &after, 0o640)?;
            if let Some(refused) = &checked.refused {
                eprintln!("lxc-config: warning: a start would be refused: {refused}");
            }
            return Ok(0);
        }
        errors.iter().for_each(|e| eprintln!("{}\n", e.render()));
        if !edit_again()? {
            bail!("{} is as it was", path.display());
        }
    }
}

fn run_editor(file: &Path) -> anyhow::Result<()> {
    let set = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
    // The variable may have arguments.
    let status = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file).status();
    match status.doing(|| format!("run the editor {editor}"))? {
        status if status.success() => Ok(()),
        status => bail!("the editor {editor} failed ({status}): nothing was written"),
    }
}

fn edit_again() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("Edit again? [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}
