//! What a document tells its reader to do. In: Markdown, and the title of a section. Out: its commands and manifests, in order.

use anyhow::{Context as _, Result};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Lines to type into one terminal.
    Type(String),
    /// Objects to apply.
    Apply(String),
}

/// The steps of a section: indented blocks are commands, blocks of YAML are manifests. Commands that watch for ever are left out.
///
/// # Errors
/// When there is no such section, or nothing to do in it.
pub fn steps(markdown: &str, title: &str) -> Result<Vec<Step>> {
    let heading = format!("## {title}\n");
    let section = markdown.split_once(&heading).with_context(|| format!("there is no section '{title}'"))?.1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut steps: Vec<Step> = Vec::new();
    let mut yaml: Option<String> = None;
    let mut typed = String::new();
    for line in section.lines().chain([""]) {
        match (&mut yaml, line) {
            (Some(text), "```") => {
                steps.push(Step::Apply(std::mem::take(text)));
                yaml = None;
            }
            (Some(text), line) => *text += &format!("{line}\n"),
            (None, "```yaml") => yaml = Some(String::new()),
            (None, line) => match line.strip_prefix("    ") {
                Some(command) if command.contains(" -w") => {}
                Some(command) => typed += &format!("{command}\n"),
                None if typed.is_empty() => {}
                None => steps.push(Step::Type(std::mem::take(&mut typed))),
            },
        }
    }
    anyhow::ensure!(!steps.is_empty(), "the section '{title}' tells nothing to do");
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_manifests_come_in_order_and_only_of_the_section() {
        let text = "## A\n\n    no\n\n## B\n\nfirst\n\n    one\n    two  # why\n    get -w\n\n```yaml\na: 1\n```\n\n    three\n\n## C\n\n    no\n";
        let steps = steps(text, "B").unwrap();
        let typed = |text: &str| Step::Type(text.to_owned());
        assert_eq!(steps, [typed("one\ntwo  # why\n"), Step::Apply("a: 1\n".to_owned()), typed("three\n")]);
        assert!(super::steps(text, "D").is_err());
    }
}
