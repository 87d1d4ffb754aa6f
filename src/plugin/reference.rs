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

/// The executable's name, and one for the script of bash, which knows no command below a name with a hyphen.
const NAME: &str = "kubectl-imagebatch";
const BASH_NAME: &str = "kubectl_imagebatch";

/// Prints a script.
pub(super) fn completion(args: &CompletionArgs) -> anyhow::Result<End> {
    let script = match args.shell {
        Script::Bash => {
            let registers = |name: &str| format!(" -o default {name}\n");
            script(Shell::Bash, BASH_NAME).replace(&registers(BASH_NAME), &registers(NAME))
        }
        Script::Zsh => script(Shell::Zsh, NAME),
        Script::Fish => script(Shell::Fish, NAME),
        Script::Kubectl => KUBECTL.to_owned(),
    };
    print(&script)?;
    Ok(End::Done)
}

fn script(shell: Shell, name: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a page for the plugin and one for each command.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<End> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("failed to write man pages into {}", folder.display()))?;
    Ok(End::Done)
}
