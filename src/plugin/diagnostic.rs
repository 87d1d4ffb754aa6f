//! Problems of a CSV as a compiler shows its own: code, message, file, line and column, the line with a caret
//! below what is meant, and a hint.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::print::{clean, has_colours};
use crate::manifest::place::Place;
use crate::manifest::problem::Problem;

/// Columns that are shown of a line.
const WIDTH: usize = 120;

/// Returns a problem as text, for a terminal.
pub(super) fn render(file: &str, problem: &Problem, place: Option<&Place>, is_warning: bool) -> String {
    let level = if is_warning { Level::WARNING } else { Level::ERROR };
    let (code, message, hint) = (problem.code.to_string(), clean(&problem.message), clean(&problem.hint));
    let title = level.primary_title(message).id(code);
    let column = problem.column.as_deref().map(|it| format!("column {:?}", clean(it)));
    let group: Group<'_> = match place {
        Some(place) => {
            let label = AnnotationKind::Primary.span(place.span.clone()).label(column);
            let line = place.line as usize;
            title.element(Snippet::source(place.text.as_str()).line_start(line).path(file).annotation(label))
        }
        None => title.element(Origin::path(file)),
    };
    let group = group.element(Level::HELP.message(hint));
    let renderer = if has_colours() { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH).render(&[group])
}
