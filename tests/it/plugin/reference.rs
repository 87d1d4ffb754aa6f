//! Completion and man pages.

use super::{Folder, command, ended};

#[tokio::test]
async fn commands_complete_and_have_man_pages() {
    let folder = Folder::new();
    let man = folder.path().join("man");
    let child = command(&["man", man.to_str().expect("UTF-8")]).spawn().expect("the plugin starts");
    ended(child).await.expect(0);
    let page = std::fs::read_to_string(man.join("kubectl-imagebatch-submit.1")).expect("a page of submit");
    assert!(page.contains("\\-\\-wait") && man.join("kubectl-imagebatch-key-revoke.1").exists(), "{page}");

    for shell in ["bash", "zsh", "fish", "kubectl"] {
        let child = command(&["completion", shell]).spawn().expect("the plugin starts");
        let printed = ended(child).await.expect(0);
        assert!(printed.stdout.contains("kubectl-imagebatch") && printed.stderr.is_empty(), "{shell}: {printed:?}");
        folder.write(&format!("completion.{shell}"), printed.stdout);
    }
    // kubectl's way: candidates, and a last line that says what to do with them.
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_kubectl-imagebatch")).parent().expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    for (words, expected) in
        [(&["sta"][..], "status\n:4\n"), (&["key", "re"], "revoke\n:4\n"), (&["submit", "--wa"], "--wait\n:0\n")]
    {
        let mut bash = tokio::process::Command::new("bash");
        bash.arg(folder.path().join("completion.kubectl")).args(words).env("PATH", &path);
        let output = bash.output().await.expect("bash runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
