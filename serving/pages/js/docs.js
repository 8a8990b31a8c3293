// The API's documentation: Swagger UI over /openapi.json, which asks no other host for anything.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  // Its default sends the document's address to a validator on the web.
  validatorUrl: null,
});
