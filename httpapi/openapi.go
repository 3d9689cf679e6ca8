package httpapi

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/gateway"
)

type object = map[string]any

// openAPI returns an OpenAPI 3.1 document of what is open.
func openAPI(table *gateway.Table) ([]byte, error) {
	paths := object{}
	for _, e := range table.Endpoints() {
		path, params := "/"+e.Target+"/"+e.Name, []object{}
		if e.Many {
			path = "/" + e.Target + "/{id}/" + e.Name
			params = append(params, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}})
		}
		body, err := e.AskedSchema()
		if err != nil {
			return nil, err
		}
		post := object{
			"operationId": e.Target + "." + e.Name,
			"tags":        []string{e.Target},
			"responses":   object{"default": answer("what went wrong", "application/problem+json", problemSchema())},
		}
		if post["responses"].(object)["200"], err = success(e); err != nil {
			return nil, err
		}
		if e.Message.Reply == nil && e.Message.Items == nil {
			delete(post["responses"].(object), "200")
			post["responses"].(object)["202"] = object{"description": "the message is in the actor's mailbox"}
		}
		if e.Message.Reads || e.Message.Items != nil {
			get := object{}
			for k, v := range post {
				get[k] = v
			}
			get["operationId"] = e.Target + ".Get" + e.Name
			get["parameters"] = append(params[:len(params):len(params)], object{"name": "body", "in": "query", "content": object{"application/json": object{"schema": body}}})
			paths[path] = object{"get": get}
		}
		post["requestBody"] = object{"content": object{"application/json": object{"schema": body}}}
		params = append(params, header(gateway.HeaderTimeout, "number", "for how many seconds the client waits"))
		if e.Keys {
			params = append(params, header(gateway.HeaderKey, "string", "the same for every attempt at one request, which runs once"))
		}
		post["parameters"] = params
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)["post"] = post
	}
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info":    object{"title": "Actors", "version": "1"},
		"paths":   paths,
	})
}

// success is the answer of a request that ran.
func success(e *gateway.Endpoint) (object, error) {
	schema, err := e.AnsweredSchema()
	if err != nil || schema == nil {
		return nil, err
	}
	if e.Message.Items != nil {
		return answer("the data of each event", "text/event-stream", schema), nil
	}
	return answer("the reply", "application/json", schema), nil
}

func answer(what, kind string, schema any) object {
	return object{"description": what, "content": object{kind: object{"schema": schema}}}
}

func header(name, kind, what string) object {
	return object{"name": name, "in": "header", "description": what, "schema": object{"type": kind}}
}

// problemSchema returns the schema of a problem.
func problemSchema() object {
	props := object{}
	for f := range reflect.TypeFor[problem]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := "string"
		switch f.Type.Kind() {
		case reflect.Int:
			kind = "integer"
		case reflect.Float64:
			kind = "number"
		}
		props[name] = object{"type": kind}
	}
	return object{"type": "object", "properties": props}
}
