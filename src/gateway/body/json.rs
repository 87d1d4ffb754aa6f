//! `application/json`: options and `products`, written as the CSV that goes the way of all others.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::error::{ApiError, Code};
use super::super::options::SubmitOptions;
use super::CsvStream;
use crate::manifest::row::Columns;

#[derive(Deserialize)]
struct Document {
    products: Vec<Product>,
    #[serde(flatten)]
    options: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Product {
    serial_number: Text,
    name: String,
    image_urls: Vec<String>,
}

/// A serial number, which people write as a number too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    String(String),
    Number(serde_json::Number),
}

/// Reads the document and returns its products as a CSV.
pub(super) async fn open(content: CsvStream, options: &mut SubmitOptions) -> Result<CsvStream, ApiError> {
    let chunks: Vec<Bytes> = content.try_collect().await?;
    let document: Document = serde_json::from_slice(&chunks.concat()).map_err(|error| {
        let detail = format!("the JSON is no object with \"products\" and options: {error}");
        ApiError::new(Code::MalformedRequest, detail)
    })?;
    let mut problems = Vec::new();
    for (name, value) in document.options {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        problems.extend(options.set(&name, &value).err());
    }
    SubmitOptions::check(problems)?;
    let csv = write(&document.products).map_err(|error| {
        ApiError::new(Code::Internal, "the products could not be written as a CSV").caused_by(error)
    })?;
    Ok(stream::iter([Ok(Bytes::from(csv))]).boxed())
}

fn write(products: &[Product]) -> Result<Vec<u8>, csv::Error> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(Columns::standard().names)?;
    for Product { serial_number, name, image_urls } in products {
        let serial_number = match serial_number {
            Text::String(text) => text.clone(),
            Text::Number(number) => number.to_string(),
        };
        csv.write_record([&serial_number, name, &image_urls.join(",")])?;
    }
    csv.into_inner().map_err(|error| error.into_error().into())
}
