//! Completion scripts and man pages, made from the commands themselves.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::End;
use super::args::Cli;
use super::print::print;

/// For which shell.
#[derive(Args, Debug)]
pub(super) struct CompletionArgs {
    /// The shell, or `kubectl` for the script `kubectl_complete-imagebatch` by which kubectl completes plugins.
    #[arg(value_enum)]
    shell: Script,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Script {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

/// Where man pages go.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Folder for the pages; it is made where it is missing.
    #[arg(default_value = "man")]
    folder: PathBuf,
}

/// kubectl runs this with the words behind `kubectl imagebatch`, and reads candidates, one a line, and a last line
/// that says what the shell does with them.
const KUBECTL: &str = include_str!("reference/kubectl_complete-imagebatch");

/// Prints a script.
pub(super) fn completion(args: &CompletionArgs) -> anyhow::Result<End> {
    let shell = match args.shell {
        Script::Bash => Shell::Bash,
        Script::Zsh => Shell::Zsh,
        Script::Fish => Shell::Fish,
        Script::Kubectl => {
            print(KUBECTL)?;
            return Ok(End::Done);
        }
    };
    let mut command = Cli::command();
    // clap_complete's script for bash takes a hyphen of the name for the border of a subcommand.
    let name = command.get_name().to_owned();
    let written = if shell == Shell::Bash { name.replace('-', "_") } else { name.clone() };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, &written, &mut script);
    let script = String::from_utf8_lossy(&script).replace(&format!(" default {written}"), &format!(" default {name}"));
    print(&script)?;
    Ok(End::Done)
}

/// Writes a page for the plugin and one for each command.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<End> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("failed to write man pages into {}", folder.display()))?;
    Ok(End::Done)
}
