//! The progress of a batch: bars on a terminal, else a line for each change worth one.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::line::{problems, state_of};
use super::print::{bytes, clean, is_terminal, note, span};
use crate::api::image_batch::ImageBatch;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);
const BAR: &str = "  {bar:40.cyan/blue} {pos}/{len} images {percent}%  {msg}";

/// Shows how far a batch is.
pub(super) struct Progress {
    name: String,
    bars: Option<Bars>,
    /// What the last line said, where there are no bars.
    last: (String, i64),
}

struct Bars {
    all: MultiProgress,
    state: ProgressBar,
    images: Option<ProgressBar>,
}

impl Progress {
    /// Begins to show a batch.
    pub(super) fn new(name: &str) -> Self {
        let bars = is_terminal().then(|| {
            let all = MultiProgress::new();
            let state = all.add(ProgressBar::new_spinner());
            state.enable_steady_tick(TICK);
            Bars { all, state, images: None }
        });
        Self { name: name.to_owned(), bars, last: (String::new(), -1) }
    }

    /// Shows what a batch says of itself.
    pub(super) fn show(&mut self, batch: &ImageBatch) {
        let status = batch.status.clone().unwrap_or_default();
        let state = state_line(batch);
        let (done, images) = (status.counts().done(), status.images.unwrap_or_default());
        let detail = detail(batch, Timestamp::now());
        let Some(bars) = &mut self.bars else {
            let tenth = if images > 0 { done * 10 / images } else { -1 };
            let now = (state, tenth);
            if now != self.last {
                let progress = if images > 0 { format!(" {done} of {images} images{detail}") } else { String::new() };
                note(&format!("{}: {}{progress}", self.name, now.0));
                self.last = now;
            }
            return;
        };
        bars.state.set_message(format!("{}: {state}", self.name));
        if images > 0 {
            let all = &bars.all;
            let bar = bars.images.get_or_insert_with(|| {
                let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
                all.add(ProgressBar::new(images as u64).with_style(style))
            });
            bar.set_length(images as u64);
            bar.set_position(done as u64);
            bar.set_message(detail.trim_start_matches(", ").to_owned());
        }
    }

    /// Takes the bars away, for what is printed next.
    pub(super) fn clear(&self) {
        if let Some(bars) = &self.bars {
            bars.images.iter().for_each(ProgressBar::finish_and_clear);
            bars.state.finish_and_clear();
        }
    }
}

/// Returns the state, and what holds the batch up.
fn state_line(batch: &ImageBatch) -> String {
    let word = state_of(batch);
    let Some(status) = &batch.status else { return word.to_owned() };
    if let Some(problem) = problems(status).next() {
        return format!("{word} ({}: {})", problem.reason, clean(&problem.message));
    }
    match status.queue_position {
        Some(place) => format!("{word} at place {place}"),
        None => word.to_owned(),
    }
}

/// Returns further figures, each behind a comma.
fn detail(batch: &ImageBatch, now: Timestamp) -> String {
    let Some(status) = &batch.status else { return String::new() };
    let failed = (status.failed > 0).then(|| format!("{} failed", status.failed));
    let saved = status.saved.as_ref().map(|it| format!("{it} saved ({})", bytes(status.bytes_saved)));
    let speed = status.images_per_minute.map(|it| format!("{it} images/min"));
    let end = status.estimated_completion_time.as_ref().map(|it| it.0.duration_since(now).as_secs().max(0));
    let left = end.map(|it| format!("{} left", span(it)));
    let figures: Vec<String> = [Some(String::new()), failed, saved, speed, left].into_iter().flatten().collect();
    figures.join(", ")
}
