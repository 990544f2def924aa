// Gradio's client can lose what it asks: the server ends the event stream because nothing is left to be told, the page
// asks for something before it has read that end, takes the stream for open, and nobody reads what the server answers.
// So whoever joins the queue hears of it once the open stream has named the event, or has ended: then a new one is opened.
const streams = new Set(); // those being read: {events that were named, tail of what was said, ended, heard}
const listenTo = async (answer) => {
  const stream = {named: new Set(), tail: '', ended: false, heard: new EventTarget()};
  const tell = (ended) => {
    stream.ended = ended;
    if (ended) streams.delete(stream);
    stream.heard.dispatchEvent(new Event('heard'));
  };
  const end = () => setTimeout(tell, 20, true); // when the page has read the last words
  streams.add(stream);
  try {
    const response = await answer;
    if (!response.ok || !response.body) { tell(true); return response; }
    const reader = response.body.getReader();
    const letters = new TextDecoder();
    const body = new ReadableStream({
      async pull(out) {
        try {
          const {done, value} = await reader.read();
          if (done) { out.close(); end(); return; }
          const said = stream.tail + letters.decode(value, {stream: true});
          for (const [, event] of said.matchAll(/"event_id": ?"([^"]+)"/g)) stream.named.add(event);
          stream.tail = said.slice(-100);
          out.enqueue(value);
          tell(false);
        } catch (error) { end(); out.error(error); }
      },
      cancel(reason) { end(); return reader.cancel(reason); },
    });
    return new Response(body, {status: response.status, headers: response.headers});
  } catch (error) { tell(true); throw error; }
};
const joined = async (answer) => {
  const listening = [...streams];
  const response = await answer;
  if (!response.ok || !listening.length) return response;
  const {event_id: event} = await response.clone().json();
  await new Promise((done) => {
    const look = () => {
      if (listening.some((stream) => stream.named.has(event)) || listening.every((stream) => stream.ended)) done();
    };
    for (const stream of listening) stream.heard.addEventListener('heard', look);
    setTimeout(done, 5000); // whatever happens, nothing waits for ever here
    look();
  });
  return response;
};
const ask = window.fetch.bind(window);
window.fetch = (what, how) => {
  const path = new URL(what.url ?? what, location.href).pathname;
  if (path.endsWith('/queue/data')) return listenTo(ask(what, how));
  return path.endsWith('/queue/join') ? joined(ask(what, how)) : ask(what, how);
};
