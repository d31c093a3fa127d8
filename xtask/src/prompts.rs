//! Speaks the built-in prompts.

use std::path::Path;

use anyhow::{Context, Result};

use crate::shell;

/// Speaks every text of the list with `flite` and encodes it beside the list.
///
/// # Errors
/// `flite` is missing or fails, or the list has a line that is neither empty, a comment nor
/// `name = "text"`.
pub(crate) fn run() -> Result<()> {
    let folder = Path::new("core/media/prompts");
    let list = folder.join("prompts.toml");
    let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let wav = std::env::temp_dir().join(format!("prompt-{}.wav", std::process::id()));
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, words) = entry(line)
            .with_context(|| format!("{}:{}: not name = \"text\"", list.display(), number + 1))?;
        speak(words, &wav)?;
        let opus = folder.join(name).with_extension("opus");
        shell::cargo([
            "run",
            "-q",
            "-p",
            "dialtone-codec",
            "--example",
            "prompt_file",
            "--",
        ])
        .args([&wav, &opus])
        .run()?;
    }
    std::fs::remove_file(&wav).context("no prompt in the list")
}

fn speak(words: &str, wav: &Path) -> Result<()> {
    shell::Cmd::new("flite")
        .args(["-voice", "slt", "-t", words, "-o"])
        .args([wav])
        .run()
        .context("flite speaks the prompts (apt install flite)")
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" = \"")?;
    Some((name, rest.strip_suffix('"')?))
}
