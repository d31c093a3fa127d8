//! Responses to a request that was received earlier.

use sip::{Flow, HeaderName, Message, ParseError, StatusCode, Writer};

/// Those header fields of a request that its responses repeat.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    request: Vec<u8>,
    flow: Flow,
}

impl Reply {
    /// Keeps what responses to `request`, which came by `flow`, need.
    pub(super) fn to(request: &Message<'_>, flow: Flow) -> Self {
        const REPEATED: [HeaderName; 6] = [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
            HeaderName::RecordRoute,
        ];
        let mut bytes = Vec::with_capacity(512);
        if let Some(method) = request.method() {
            let mut writer = Writer::request(&mut bytes, method, request.request_uri());
            for name in REPEATED {
                writer.copy(request, name);
            }
            writer.finish();
        }
        Self {
            request: bytes,
            flow,
        }
    }

    /// Writes a response: `fields` adds what it has beside the repeated ones, and ends it.
    pub(super) fn write(
        &self,
        status: StatusCode,
        tag: &str,
        fields: impl FnOnce(Writer<'_>),
    ) -> Result<Vec<u8>, ParseError> {
        let request = Message::parse(&self.request)?;
        let mut bytes = Vec::with_capacity(512);
        let mut writer = Writer::response_to(&mut bytes, &request, &self.flow, status, tag);
        writer.copy(&request, HeaderName::RecordRoute);
        fields(writer);
        Ok(bytes)
    }
}
