//! What the document says of one operation.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::super::error::{Code, ProblemDocument};

/// Returns the schema of a type.
type SchemaOf = fn(&mut SchemaGenerator) -> Value;

/// An operation: what it takes, and everything that it may answer.
pub(crate) struct Operation {
    pub(crate) id: &'static str,
    tag: &'static str,
    summary: &'static str,
    detail: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<(bool, Vec<(&'static str, SchemaOf)>)>,
    answers: Vec<Answer>,
    codes: Vec<Code>,
    secured: bool,
}

struct Answer {
    status: u16,
    description: &'static str,
    content: Option<(&'static str, SchemaOf)>,
}

impl Operation {
    pub(crate) fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        let codes = vec![Code::MalformedRequest, Code::Internal];
        Self {
            id,
            tag,
            summary,
            detail: None,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            codes,
            secured: false,
        }
    }

    pub(crate) fn detail(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    pub(crate) fn with(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Says that the caller has to be known, where the installation authenticates.
    pub(crate) fn secured(self) -> Self {
        Self { secured: true, ..self }
    }

    /// Adds the parameter `id`.
    pub(crate) fn id(self) -> Self {
        self.with(parameter("path", "id", "The batch's id, which is its ImageBatch's name", string(1, 40)))
    }

    /// Adds the parameter `namespace`.
    pub(crate) fn namespace(self) -> Self {
        self.with(query("namespace", "The batch's namespace, where it is not the default one", string(1, 63)))
    }

    /// Adds a JSON body.
    pub(crate) fn body<T: JsonSchema>(self, required: bool) -> Self {
        Self { body: Some((required, vec![("application/json", schema_of::<T>)])), ..self }
    }

    /// Adds bodies of several types.
    pub(crate) fn bodies(self, bodies: Vec<(&'static str, SchemaOf)>) -> Self {
        Self { body: Some((true, bodies)), ..self }
    }

    /// Adds an answer with a JSON body.
    pub(crate) fn answer<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.push(status, description, Some(("application/json", schema_of::<T>)))
    }

    /// Adds an answer whose body is no JSON that is described.
    pub(crate) fn text(self, status: u16, kind: &'static str, description: &'static str) -> Self {
        self.push(status, description, Some((kind, |_| json!({}))))
    }

    /// Adds an answer without a body.
    pub(crate) fn empty(self, status: u16, description: &'static str) -> Self {
        self.push(status, description, None)
    }

    /// Adds the answers with a stored object.
    pub(crate) fn stored(self, kind: &'static str, description: &'static str) -> Self {
        self.with(parameter("header", "If-None-Match", "An `ETag` that is known already", string(0, 1_024)))
            .with(parameter("header", "Range", "One range of bytes", string(0, 256)))
            .text(200, kind, description)
            .text(206, kind, "The bytes that were asked for")
            .empty(304, "It is still as the `ETag` says")
            .codes(&[Code::RangeNotSatisfiable])
    }

    /// Adds codes of errors.
    pub(crate) fn codes(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    fn push(mut self, status: u16, description: &'static str, content: Option<(&'static str, SchemaOf)>) -> Self {
        self.answers.push(Answer { status, description, content });
        self
    }

    /// Writes the operation.
    pub(crate) fn write(&self, generator: &mut SchemaGenerator) -> Value {
        let mut responses = Map::new();
        for Answer { status, description, content } in &self.answers {
            let mut response = json!({ "description": description });
            if let Some((kind, schema)) = content {
                response["content"] = json!({ *kind: { "schema": schema(generator) } });
            }
            responses.insert(status.to_string(), response);
        }
        for (status, codes) in self.by_status() {
            let problem = schema_of::<ProblemDocument<'static>>(generator);
            let description = format!("`{}`", codes.join("`, `"));
            let content = json!({ "application/problem+json": { "schema": problem } });
            responses.insert(status.as_str().to_owned(), json!({ "description": description, "content": content }));
        }
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": self.parameters,
            "responses": responses,
        });
        if let Some(detail) = self.detail {
            operation["description"] = json!(detail);
        }
        if self.secured {
            operation["security"] = json!([{ "bearer": [] }, { "session": [] }, {}]);
        }
        if let Some((required, bodies)) = &self.body {
            let content =
                bodies.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({ "schema": schema(generator) })));
            operation["requestBody"] = json!({ "required": required, "content": content.collect::<Map<_, _>>() });
        }
        operation
    }

    fn by_status(&self) -> BTreeMap<StatusCode, Vec<String>> {
        let mut statuses = BTreeMap::<StatusCode, Vec<String>>::new();
        for code in &self.codes {
            let (codes, code) = (statuses.entry(code.status_and_title().0).or_default(), format!("{code:?}"));
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        statuses
    }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Returns an optional parameter, or one of the path.
pub(crate) fn parameter(place: &str, name: &str, description: &str, schema: Value) -> Value {
    let mut parameter = json!({ "in": place, "name": name, "description": description, "required": place == "path" });
    parameter["schema"] = schema;
    parameter
}

/// Returns a parameter of the query.
pub(crate) fn query(name: &str, description: &str, schema: Value) -> Value {
    parameter("query", name, description, schema)
}

pub(crate) fn string(min: usize, max: usize) -> Value {
    json!({ "type": "string", "minLength": min, "maxLength": max })
}

pub(crate) fn integer(min: i64, max: i64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

pub(crate) fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}
