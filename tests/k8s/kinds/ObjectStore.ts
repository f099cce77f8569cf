// The Barman Cloud plugin's kind, which no package has: what it reads in `configuration` is of the library that it shares with
// the operator, and the rest is as its CustomResourceDefinition says.
import type { IObjectMeta } from "@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta";
import {
  BarmanObjectStoreConfiguration,
  type IBarmanObjectStoreConfiguration,
} from "@kubernetes-models/cloudnative-pg/github.com/cloudnative-pg/barman-cloud/pkg/api/BarmanObjectStoreConfiguration";

export interface IObjectStore {
  apiVersion: "barmancloud.cnpg.io/v1";
  kind: "ObjectStore";
  metadata: IObjectMeta;
  spec: {
    configuration: IBarmanObjectStoreConfiguration;
    retentionPolicy?: `${number}${"d" | "w" | "m"}`;
  };
}

export class ObjectStore {
  constructor(private readonly data: IObjectStore) {}

  validate(): void {
    new BarmanObjectStoreConfiguration(this.data.spec.configuration).validate();
  }
}
